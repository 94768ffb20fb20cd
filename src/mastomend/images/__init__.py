"""Bytes in, bytes out: decode within limits, make the styles Mastodon makes, blurhash."""

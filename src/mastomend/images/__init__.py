"""Bytes in, bytes out: decode within limits, make the styles Mastodon makes, blurhash."""

import os

# Pictures are many and small, and each has a thread of ours: libvips' own threads would cost more than they save. It
# reads this when it is first imported.
os.environ.setdefault("VIPS_CONCURRENCY", "1")

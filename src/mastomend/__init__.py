"""Mastomend: finds, mends and prevents broken media on Mastodon servers."""

__version__ = "0.1.0"

"""What Mastodon believes: tables, keys, styles, configuration, versions, moderation. Pure: no I/O happens here.

This is the only room that knows Mastodon's facts; a new Mastodon version is a change here and nowhere else.
"""

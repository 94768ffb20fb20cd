"""Mastodon's Redis: the jobs its Sidekiq takes, the caches that hold media names, the locks of its media proxy."""

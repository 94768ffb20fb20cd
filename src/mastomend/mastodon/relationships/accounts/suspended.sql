-- It is suspended: Mastodon itself removes its files in time.
-- needs accounts: id, suspended_at
SELECT a.id AS id, a.suspended_at AS at FROM accounts a WHERE a.suspended_at IS NOT NULL

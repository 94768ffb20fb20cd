-- Somebody here has boosted a post of it.
-- needs statuses: id, account_id, reblog_of_id, created_at; accounts: id, domain
SELECT o.account_id AS id, s.created_at AS at
FROM accounts a JOIN statuses s ON s.account_id = a.id JOIN statuses o ON o.id = s.reblog_of_id
WHERE a.domain IS NULL

-- Somebody here has boosted it.
-- needs statuses: account_id, reblog_of_id, created_at; accounts: id, domain
SELECT s.reblog_of_id AS id, s.created_at AS at
FROM statuses s JOIN accounts a ON a.id = s.account_id
WHERE a.domain IS NULL AND s.reblog_of_id IS NOT NULL

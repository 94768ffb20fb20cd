-- Somebody here has asked to follow it.
-- needs follow_requests: account_id, target_account_id, created_at; accounts: id, domain
SELECT t.target_account_id AS id, t.created_at AS at
FROM follow_requests t JOIN accounts a ON a.id = t.account_id
WHERE a.domain IS NULL

-- Somebody here has blocked it.
-- needs blocks: account_id, target_account_id, created_at; accounts: id, domain
SELECT t.target_account_id AS id, t.created_at AS at
FROM blocks t JOIN accounts a ON a.id = t.account_id
WHERE a.domain IS NULL

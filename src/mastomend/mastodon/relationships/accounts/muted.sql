-- Somebody here has muted it.
-- needs mutes: account_id, target_account_id, created_at; accounts: id, domain
SELECT t.target_account_id AS id, t.created_at AS at
FROM mutes t JOIN accounts a ON a.id = t.account_id
WHERE a.domain IS NULL

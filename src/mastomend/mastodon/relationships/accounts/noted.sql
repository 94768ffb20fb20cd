-- Somebody here has written a note about it.
-- needs account_notes: account_id, target_account_id, created_at; accounts: id, domain
SELECT t.target_account_id AS id, t.created_at AS at
FROM account_notes t JOIN accounts a ON a.id = t.account_id
WHERE a.domain IS NULL

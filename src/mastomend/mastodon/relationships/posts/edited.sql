-- Somebody here has edited it.
-- needs status_edits: account_id, status_id, created_at; accounts: id, domain
SELECT e.status_id AS id, e.created_at AS at
FROM status_edits e JOIN accounts a ON a.id = e.account_id
WHERE a.domain IS NULL

-- Somebody here has mentioned it.
-- needs mentions: account_id, status_id, created_at; statuses: id, account_id; accounts: id, domain
SELECT m.account_id AS id, m.created_at AS at
FROM accounts a JOIN statuses s ON s.account_id = a.id JOIN mentions m ON m.status_id = s.id
WHERE a.domain IS NULL AND m.account_id IS NOT NULL

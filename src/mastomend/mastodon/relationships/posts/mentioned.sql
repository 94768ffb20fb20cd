-- It mentions somebody here, aloud or not.
-- needs mentions: account_id, status_id, created_at; accounts: id, domain
SELECT m.status_id AS id, m.created_at AS at
FROM mentions m JOIN accounts a ON a.id = m.account_id
WHERE a.domain IS NULL AND m.status_id IS NOT NULL

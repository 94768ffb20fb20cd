-- Somebody here has quoted it.
-- needs quotes: account_id, quoted_status_id, created_at; accounts: id, domain
SELECT q.quoted_status_id AS id, q.created_at AS at
FROM quotes q JOIN accounts a ON a.id = q.account_id
WHERE a.domain IS NULL AND q.quoted_status_id IS NOT NULL

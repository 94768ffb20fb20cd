-- It quotes a post from here.
-- needs quotes: status_id, quoted_status_id, quoted_account_id, created_at; statuses: id, account_id; accounts: id, domain
SELECT q.status_id AS id, q.created_at AS at
FROM quotes q LEFT JOIN statuses s ON s.id = q.quoted_status_id
JOIN accounts a ON a.id = coalesce(s.account_id, q.quoted_account_id)
WHERE a.domain IS NULL

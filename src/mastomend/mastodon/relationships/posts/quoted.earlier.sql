-- An earlier version of a post from here quoted it.
-- needs status_edits: status_id, quote_id, created_at; quotes: id, quoted_status_id; statuses: id, account_id; accounts: id, domain
-- since status_edits.quote_id
SELECT q.quoted_status_id AS id, e.created_at AS at
FROM status_edits e JOIN quotes q ON q.id = e.quote_id JOIN statuses s ON s.id = e.status_id
JOIN accounts a ON a.id = s.account_id
WHERE a.domain IS NULL AND q.quoted_status_id IS NOT NULL

-- Somebody here has answered it.
-- needs statuses: account_id, in_reply_to_id, created_at; accounts: id, domain
SELECT s.in_reply_to_id AS id, s.created_at AS at
FROM statuses s JOIN accounts a ON a.id = s.account_id
WHERE a.domain IS NULL AND s.in_reply_to_id IS NOT NULL

-- It began a thread somebody here has written in.
-- needs conversations: id, parent_status_id; statuses: conversation_id, account_id, created_at; accounts: id, domain
-- since conversations.parent_status_id
SELECT c.parent_status_id AS id, s.created_at AS at
FROM accounts a JOIN statuses s ON s.account_id = a.id JOIN conversations c ON c.id = s.conversation_id
WHERE a.domain IS NULL AND c.parent_status_id IS NOT NULL

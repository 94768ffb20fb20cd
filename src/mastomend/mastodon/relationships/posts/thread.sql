-- Somebody here has written in its thread.
-- needs statuses: id, conversation_id, account_id, created_at; accounts: id, domain
-- once: no index leads there before 4.5; an answer is asked for itself
SELECT s.id AS id, m.created_at AS at
FROM accounts a JOIN statuses m ON m.account_id = a.id JOIN statuses s ON s.conversation_id = m.conversation_id
WHERE a.domain IS NULL

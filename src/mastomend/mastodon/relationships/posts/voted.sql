-- Somebody here has voted in its poll.
-- needs poll_votes: account_id, poll_id, created_at; polls: id, status_id; accounts: id, domain
SELECT p.status_id AS id, v.created_at AS at
FROM poll_votes v JOIN accounts a ON a.id = v.account_id JOIN polls p ON p.id = v.poll_id
WHERE a.domain IS NULL AND p.status_id IS NOT NULL

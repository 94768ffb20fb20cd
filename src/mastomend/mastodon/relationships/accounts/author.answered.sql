-- Somebody here has favourited, bookmarked, boosted or answered a post of it.
-- needs statuses: account_id, in_reply_to_account_id, created_at; accounts: id, domain
SELECT s.in_reply_to_account_id AS id, s.created_at AS at
FROM statuses s JOIN accounts a ON a.id = s.account_id
WHERE a.domain IS NULL AND s.in_reply_to_account_id IS NOT NULL

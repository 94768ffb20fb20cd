-- Somebody who was here has moved there.
-- needs accounts: domain, moved_to_account_id
SELECT a.moved_to_account_id AS id, NULL::timestamp AS at
FROM accounts a WHERE a.domain IS NULL AND a.moved_to_account_id IS NOT NULL

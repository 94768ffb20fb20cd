-- It is in somebody's list.
-- needs list_accounts: account_id
SELECT l.account_id AS id, NULL::timestamp AS at FROM list_accounts l

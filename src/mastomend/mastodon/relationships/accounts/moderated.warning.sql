-- A moderator warned it.
-- needs account_warnings: target_account_id, created_at
SELECT n.target_account_id AS id, n.created_at AS at FROM account_warnings n WHERE n.target_account_id IS NOT NULL

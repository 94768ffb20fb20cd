-- A report is about it.
-- needs reports: target_account_id, created_at
SELECT r.target_account_id AS id, r.created_at AS at FROM reports r

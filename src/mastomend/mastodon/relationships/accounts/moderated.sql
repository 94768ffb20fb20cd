-- A moderator wrote a note about it.
-- needs account_moderation_notes: target_account_id, created_at
SELECT n.target_account_id AS id, n.created_at AS at FROM account_moderation_notes n

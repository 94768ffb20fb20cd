-- A moderator did something about it.
-- needs admin_action_logs: target_type, target_id, created_at
SELECT l.target_id AS id, l.created_at AS at
FROM admin_action_logs l
WHERE l.target_type = 'Status' AND l.target_id IS NOT NULL

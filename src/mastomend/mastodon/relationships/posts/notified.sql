-- Somebody here was notified of it.
-- needs notifications: activity_id, activity_type, created_at
SELECT n.activity_id AS id, n.created_at AS at FROM notifications n WHERE n.activity_type = 'Status'

-- It waits among somebody's filtered notifications.
-- needs notification_requests: last_status_id, updated_at
SELECT r.last_status_id AS id, r.updated_at AS at FROM notification_requests r WHERE r.last_status_id IS NOT NULL

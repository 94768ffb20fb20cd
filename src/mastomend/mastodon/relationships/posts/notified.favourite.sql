-- Somebody here was notified of it, by a favourite.
-- needs favourites: id, status_id; notifications: activity_id, activity_type, created_at
SELECT t.status_id AS id, n.created_at AS at
FROM notifications n JOIN favourites t ON t.id = n.activity_id
WHERE n.activity_type = 'Favourite' AND t.status_id IS NOT NULL

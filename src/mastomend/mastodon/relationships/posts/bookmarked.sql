-- Somebody here has bookmarked it; nobody elsewhere can.
-- needs bookmarks: status_id, created_at
SELECT b.status_id AS id, b.created_at AS at FROM bookmarks b

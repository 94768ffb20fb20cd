-- Somebody here has bookmarked a post of it.
-- needs bookmarks: status_id, created_at; statuses: id, account_id
SELECT s.account_id AS id, b.created_at AS at FROM bookmarks b JOIN statuses s ON s.id = b.status_id

-- An announcement shows it.
-- needs announcements: status_ids, created_at
SELECT unnest(n.status_ids) AS id, n.created_at AS at FROM announcements n

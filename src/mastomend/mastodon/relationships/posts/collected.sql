-- It names a collection.
-- needs tagged_objects: status_id, created_at
SELECT t.status_id AS id, t.created_at AS at FROM tagged_objects t

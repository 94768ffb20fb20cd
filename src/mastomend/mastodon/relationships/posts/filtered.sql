-- Somebody's filter names it.
-- needs custom_filter_statuses: status_id, created_at
SELECT f.status_id AS id, f.created_at AS at FROM custom_filter_statuses f

-- It trends.
-- needs status_trends: status_id
SELECT t.status_id AS id, NULL::timestamp AS at FROM status_trends t

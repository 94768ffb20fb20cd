-- A report names it.
-- needs reports: status_ids, created_at
SELECT unnest(r.status_ids) AS id, r.created_at AS at FROM reports r

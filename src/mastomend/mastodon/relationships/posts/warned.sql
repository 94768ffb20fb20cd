-- A moderator's warning names it.
-- needs account_warnings: status_ids, created_at
SELECT w.one::bigint AS id, w.at
FROM (SELECT unnest(status_ids) AS one, created_at AS at FROM account_warnings) w
WHERE w.one ~ '^[0-9]{1,18}$'

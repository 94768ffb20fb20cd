-- A post that waits to be sent answers or quotes it.
-- needs scheduled_statuses: params, scheduled_at
SELECT w.one::bigint AS id, w.at
FROM (
  SELECT unnest(ARRAY[params->>'in_reply_to_id', params->>'quoted_status_id']) AS one, scheduled_at AS at FROM scheduled_statuses
) w
WHERE w.one ~ '^[0-9]{1,18}$'

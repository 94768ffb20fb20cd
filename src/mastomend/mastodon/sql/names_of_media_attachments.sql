-- The posts media belong to, or whose they are where there is no post. Parameter: the rows' ids.
SELECT t.id, '@' || a.username || coalesce('@' || a.domain, '') AS name,
       coalesce(s.url, s.uri, '@' || a.username || '/' || s.id) AS address
FROM media_attachments t LEFT JOIN accounts a ON a.id = t.account_id LEFT JOIN statuses s ON s.id = t.status_id
WHERE t.id = ANY(%s)

-- Whose media are, where posts may not be read. Parameter: the rows' ids.
SELECT t.id, '@' || a.username || coalesce('@' || a.domain, '') AS name, NULL::text AS address
FROM media_attachments t LEFT JOIN accounts a ON a.id = t.account_id
WHERE t.id = ANY(%s)

-- What people call accounts, and their addresses. Parameter: the rows' ids.
SELECT t.id, '@' || t.username || coalesce('@' || t.domain, '') AS name, t.url AS address FROM accounts t WHERE t.id = ANY(%s)

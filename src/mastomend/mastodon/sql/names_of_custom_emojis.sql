-- Emoji as they are written. Parameter: the rows' ids.
SELECT t.id, ':' || t.shortcode || ':' || coalesce('@' || t.domain, '') AS name, NULL AS address FROM custom_emojis t WHERE t.id = ANY(%s)

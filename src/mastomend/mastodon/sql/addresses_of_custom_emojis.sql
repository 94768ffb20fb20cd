-- The ActivityPub documents of emoji. Parameter: the rows' ids.
SELECT t.id, t.uri AS document, NULL AS page FROM custom_emojis t WHERE t.id = ANY(%s)

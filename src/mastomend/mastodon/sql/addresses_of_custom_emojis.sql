-- The ActivityPub document of an emoji. Parameter: the row's id.
SELECT t.uri AS document, NULL AS page FROM custom_emojis t WHERE t.id = %s

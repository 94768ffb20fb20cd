-- The ActivityPub document of an account. Parameter: the row's id.
SELECT t.uri AS document, NULL AS page FROM accounts t WHERE t.id = %s

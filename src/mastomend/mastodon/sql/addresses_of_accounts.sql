-- The ActivityPub documents of accounts. Parameter: the rows' ids.
SELECT t.id, t.uri AS document, NULL AS page FROM accounts t WHERE t.id = ANY(%s)

-- The pages preview cards show. Parameter: the rows' ids.
SELECT t.id, NULL AS document, t.url AS page FROM preview_cards t WHERE t.id = ANY(%s)

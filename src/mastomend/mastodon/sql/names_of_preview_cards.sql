-- The pages preview cards show. Parameter: the rows' ids.
SELECT t.id, t.url AS name, t.url AS address FROM preview_cards t WHERE t.id = ANY(%s)

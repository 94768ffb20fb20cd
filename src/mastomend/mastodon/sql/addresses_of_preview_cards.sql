-- The page a preview card shows. Parameter: the row's id.
SELECT NULL AS document, t.url AS page FROM preview_cards t WHERE t.id = %s

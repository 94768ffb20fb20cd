-- A collection from here shows it.
-- needs collection_items: account_id, collection_id, state, created_at; collections: id, local
SELECT i.account_id AS id, i.created_at AS at
FROM collection_items i JOIN collections c ON c.id = i.collection_id
WHERE c.local AND i.state = 1 AND i.account_id IS NOT NULL

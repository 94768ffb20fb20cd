-- Somebody here has favourited it.
-- needs favourites: account_id, status_id, created_at; accounts: id, domain
SELECT f.status_id AS id, f.created_at AS at
FROM favourites f JOIN accounts a ON a.id = f.account_id
WHERE a.domain IS NULL

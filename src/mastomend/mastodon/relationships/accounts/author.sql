-- Somebody here has favourited a post of it.
-- needs favourites: account_id, status_id, created_at; statuses: id, account_id; accounts: id, domain
SELECT s.account_id AS id, f.created_at AS at
FROM favourites f JOIN accounts a ON a.id = f.account_id JOIN statuses s ON s.id = f.status_id
WHERE a.domain IS NULL

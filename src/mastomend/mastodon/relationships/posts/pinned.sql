-- Somebody here has pinned it.
-- needs status_pins: account_id, status_id, created_at; accounts: id, domain
SELECT p.status_id AS id, p.created_at AS at
FROM status_pins p JOIN accounts a ON a.id = p.account_id
WHERE a.domain IS NULL

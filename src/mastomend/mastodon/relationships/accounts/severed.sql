-- Somebody here followed it, or it them, until a server was blocked.
-- needs severed_relationships: remote_account_id
SELECT s.remote_account_id AS id, NULL::timestamp AS at FROM severed_relationships s

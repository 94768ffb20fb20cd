-- Somebody here was notified of something it did.
-- needs notifications: from_account_id, created_at
SELECT n.from_account_id AS id, n.created_at AS at FROM notifications n

-- Somebody here has muted its thread.
-- needs conversation_mutes: conversation_id; statuses: id, conversation_id
SELECT s.id AS id, NULL::timestamp AS at
FROM conversation_mutes m JOIN statuses s ON s.conversation_id = m.conversation_id

-- It is part of a private conversation of somebody here.
-- needs account_conversations: status_ids, last_status_id
-- once: a new one comes with a mention
SELECT c.last_status_id AS id, NULL::timestamp AS at FROM account_conversations c WHERE c.last_status_id IS NOT NULL
UNION ALL
SELECT unnest(c.status_ids), NULL::timestamp FROM account_conversations c

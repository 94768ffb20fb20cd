-- It takes part in a private conversation of somebody here.
-- needs account_conversations: participant_account_ids
-- once: a new one comes with a mention
SELECT unnest(c.participant_account_ids) AS id, NULL::timestamp AS at FROM account_conversations c

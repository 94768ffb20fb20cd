-- Somebody reacted to an announcement with it.
-- needs announcement_reactions: custom_emoji_id, created_at
SELECT r.custom_emoji_id AS id, r.created_at AS at FROM announcement_reactions r WHERE r.custom_emoji_id IS NOT NULL

-- Somebody here follows a tag of it.
-- needs tag_follows: tag_id; statuses_tags: tag_id, status_id
SELECT t.status_id AS id, NULL::timestamp AS at
FROM (SELECT DISTINCT tag_id FROM tag_follows) f JOIN statuses_tags t ON t.tag_id = f.tag_id

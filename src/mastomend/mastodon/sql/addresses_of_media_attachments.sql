-- The posts of media, and which of a post's media each is: by Mastodon's own order, or by id where there is none (facts 6.1). Parameter: the rows' ids.
SELECT t.id, s.uri AS document, NULL AS page, t.blurhash, t.remote_url,
       coalesce(array_position(s.ordered_media_attachment_ids, t.id),
                (SELECT count(*) FROM media_attachments m WHERE m.status_id = t.status_id AND m.id <= t.id)) - 1 AS position,
       coalesce(cardinality(s.ordered_media_attachment_ids),
                (SELECT count(*) FROM media_attachments m WHERE m.status_id = t.status_id)) AS total
FROM media_attachments t LEFT JOIN statuses s ON s.id = t.status_id WHERE t.id = ANY(%s)

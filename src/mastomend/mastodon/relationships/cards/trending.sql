-- The link trends.
-- needs preview_card_trends: preview_card_id
SELECT t.preview_card_id AS id, NULL::timestamp AS at FROM preview_card_trends t

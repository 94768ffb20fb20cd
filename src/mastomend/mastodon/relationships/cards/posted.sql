-- Somebody here has posted that link.
-- needs preview_cards_statuses: preview_card_id, status_id; statuses: id, account_id; accounts: id, domain
SELECT p.preview_card_id AS id, NULL::timestamp AS at
FROM preview_cards_statuses p JOIN statuses s ON s.id = p.status_id JOIN accounts a ON a.id = s.account_id
WHERE a.domain IS NULL

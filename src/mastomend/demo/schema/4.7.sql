-- Mastodon 4.7: what this release has beyond the one before it (facts/mastodon-media.md §13).
ALTER TABLE accounts ADD COLUMN "requested_deletion_at" timestamp(6);
ALTER TABLE accounts ALTER COLUMN "uri" DROP NOT NULL;
ALTER TABLE accounts ALTER COLUMN "uri" DROP DEFAULT;
UPDATE accounts SET uri = NULL WHERE uri = '';
CREATE UNIQUE INDEX index_accounts_on_uri ON accounts (uri);
ALTER TABLE keypairs ADD COLUMN "local_fragment" varchar;
ALTER TABLE keypairs ALTER COLUMN "uri" DROP NOT NULL;
ALTER TABLE keypairs ALTER COLUMN "uri" DROP DEFAULT;
CREATE UNIQUE INDEX index_keypairs_on_account_id_and_local_fragment ON keypairs ("account_id", "local_fragment");
INSERT INTO schema_migrations VALUES ('20260618114230'), ('20260805130216');

-- Mastodon 4.5: what this release has beyond the one before it (facts/mastodon-media.md §13).
ALTER TABLE accounts ADD COLUMN "following_url" varchar DEFAULT '' NOT NULL;
ALTER TABLE accounts ADD COLUMN "id_scheme" integer DEFAULT 1;
ALTER TABLE conversations ADD COLUMN "parent_status_id" bigint;
ALTER TABLE conversations ADD COLUMN "parent_account_id" bigint;
CREATE UNIQUE INDEX index_conversations_on_parent_status_id ON conversations ("parent_status_id") WHERE parent_status_id IS NOT NULL;
CREATE INDEX index_statuses_on_conversation_id ON statuses ("conversation_id");
INSERT INTO schema_migrations VALUES ('20251023210145');

-- Mastodon 4.5: what this release has beyond the one before it (facts/mastodon-media.md §13).
ALTER TABLE accounts ADD COLUMN "following_url" varchar DEFAULT '' NOT NULL;
ALTER TABLE accounts ADD COLUMN "id_scheme" integer DEFAULT 1;
INSERT INTO schema_migrations VALUES ('20251023210145');

-- Mastodon 4.6: what this release has beyond the one before it (facts/mastodon-media.md §13).
ALTER TABLE accounts ADD COLUMN "avatar_description" varchar DEFAULT '' NOT NULL;
ALTER TABLE accounts ADD COLUMN "collections_url" varchar;
ALTER TABLE accounts ADD COLUMN "feature_approval_policy" integer DEFAULT 0 NOT NULL;
ALTER TABLE accounts ADD COLUMN "header_description" varchar DEFAULT '' NOT NULL;
ALTER TABLE accounts ADD COLUMN "show_featured" boolean DEFAULT true NOT NULL;
ALTER TABLE accounts ADD COLUMN "show_media" boolean DEFAULT true NOT NULL;
ALTER TABLE accounts ADD COLUMN "show_media_replies" boolean DEFAULT true NOT NULL;
ALTER TABLE media_attachments ADD COLUMN "thumbnail_storage_schema_version" integer;
ALTER TABLE custom_emoji_categories ADD COLUMN "featured_emoji_id" bigint;
ALTER TABLE preview_cards ADD COLUMN "unverified_author_account_id" bigint;
CREATE TABLE keypairs (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint NOT NULL,
  "created_at" timestamp(6) NOT NULL,
  "expires_at" timestamp(6),
  "private_key" varchar,
  "public_key" varchar NOT NULL,
  "revoked" boolean DEFAULT false NOT NULL,
  "type" integer NOT NULL,
  "updated_at" timestamp(6) NOT NULL,
  "uri" varchar NOT NULL
);
CREATE UNIQUE INDEX ON keypairs (uri);
CREATE SEQUENCE collections_id_seq;
CREATE TABLE collections (
  "id" bigint PRIMARY KEY DEFAULT timestamp_id('collections'),
  "account_id" bigint NOT NULL,
  "created_at" timestamp(6) NOT NULL,
  "description" text,
  "description_html" text,
  "discoverable" boolean NOT NULL,
  "item_count" integer DEFAULT 0 NOT NULL,
  "language" varchar,
  "local" boolean NOT NULL,
  "name" varchar NOT NULL,
  "original_number_of_items" integer,
  "sensitive" boolean NOT NULL,
  "tag_id" bigint,
  "updated_at" timestamp(6) NOT NULL,
  "uri" varchar,
  "url" varchar
);
CREATE UNIQUE INDEX ON collections (uri) WHERE uri IS NOT NULL;
CREATE SEQUENCE collection_items_id_seq;
CREATE TABLE collection_items (
  "id" bigint PRIMARY KEY DEFAULT timestamp_id('collection_items'),
  "account_id" bigint,
  "activity_uri" varchar,
  "approval_last_verified_at" timestamp(6),
  "approval_uri" varchar,
  "collection_id" bigint NOT NULL,
  "created_at" timestamp(6) NOT NULL,
  "object_uri" varchar,
  "position" integer DEFAULT 1 NOT NULL,
  "state" integer DEFAULT 0 NOT NULL,
  "updated_at" timestamp(6) NOT NULL,
  "uri" varchar
);
CREATE UNIQUE INDEX ON collection_items (account_id, collection_id);
CREATE UNIQUE INDEX ON collection_items (approval_uri) WHERE approval_uri IS NOT NULL;
CREATE UNIQUE INDEX ON collection_items (uri) WHERE uri IS NOT NULL;
CREATE TABLE tagged_objects (
  "id" bigserial PRIMARY KEY,
  "ap_type" varchar NOT NULL,
  "created_at" timestamp(6) NOT NULL,
  "object_id" bigint,
  "object_type" varchar,
  "status_id" bigint NOT NULL,
  "updated_at" timestamp(6) NOT NULL,
  "uri" varchar
);
CREATE UNIQUE INDEX ON tagged_objects (status_id, object_type, object_id) WHERE (object_type IS NOT NULL) AND (object_id IS NOT NULL);
CREATE UNIQUE INDEX ON tagged_objects (status_id, uri) WHERE uri IS NOT NULL;
INSERT INTO schema_migrations VALUES ('20260611150940');

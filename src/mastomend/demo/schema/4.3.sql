-- Mastodon 4.3: what this release has beyond the one before it (facts/mastodon-media.md §13).
ALTER TABLE accounts ADD COLUMN "attribution_domains" varchar[] DEFAULT '{}';
ALTER TABLE accounts DROP COLUMN "devices_url";
ALTER TABLE preview_cards ADD COLUMN "author_account_id" bigint;
ALTER TABLE preview_cards_statuses ADD COLUMN "url" varchar;
ALTER TABLE status_pins ALTER COLUMN "created_at" SET NOT NULL;
ALTER TABLE status_pins ALTER COLUMN "updated_at" SET NOT NULL;
ALTER TABLE mentions ALTER COLUMN "status_id" SET NOT NULL;
ALTER TABLE mentions ALTER COLUMN "account_id" SET NOT NULL;
ALTER TABLE reports ADD COLUMN "application_id" bigint;
ALTER TABLE notifications ADD COLUMN "filtered" boolean DEFAULT false NOT NULL;
ALTER TABLE notifications ADD COLUMN "group_key" varchar;
ALTER TABLE users ADD COLUMN "otp_secret" varchar;
ALTER TABLE users DROP COLUMN "admin";
ALTER TABLE users DROP COLUMN "moderator";
CREATE UNIQUE INDEX index_custom_filter_statuses_on_status_id_and_custom_filter_id ON custom_filter_statuses ("status_id", "custom_filter_id");
CREATE SEQUENCE notification_requests_id_seq;
CREATE TABLE notification_requests (
  "id" bigint PRIMARY KEY DEFAULT timestamp_id('notification_requests'),
  "account_id" bigint NOT NULL,
  "from_account_id" bigint NOT NULL,
  "last_status_id" bigint,
  "notifications_count" bigint DEFAULT 0 NOT NULL,
  "created_at" timestamp(6) NOT NULL,
  "updated_at" timestamp(6) NOT NULL
);
CREATE UNIQUE INDEX ON notification_requests ("account_id", "from_account_id");
CREATE TABLE notification_permissions (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint NOT NULL,
  "from_account_id" bigint NOT NULL,
  "created_at" timestamp(6) NOT NULL,
  "updated_at" timestamp(6) NOT NULL
);
INSERT INTO schema_migrations VALUES ('20241007071624');

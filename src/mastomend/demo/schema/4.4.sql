-- Mastodon 4.4: what this release has beyond the one before it (facts/mastodon-media.md §13).
DROP TABLE imports;
ALTER TABLE settings DROP COLUMN "thing_type";
ALTER TABLE settings DROP COLUMN "thing_id";
CREATE UNIQUE INDEX index_settings_on_var ON settings ("var");
ALTER TABLE statuses ADD COLUMN "fetched_replies_at" timestamp(6);
ALTER TABLE statuses ADD COLUMN "quote_approval_policy" integer DEFAULT 0 NOT NULL;
ALTER TABLE status_edits ADD COLUMN "quote_id" bigint;
ALTER TABLE scheduled_statuses ALTER COLUMN "account_id" SET NOT NULL;
ALTER TABLE polls ALTER COLUMN "account_id" SET NOT NULL;
ALTER TABLE polls ALTER COLUMN "status_id" SET NOT NULL;
ALTER TABLE poll_votes ALTER COLUMN "account_id" SET NOT NULL;
ALTER TABLE poll_votes ALTER COLUMN "poll_id" SET NOT NULL;
CREATE SEQUENCE quotes_id_seq;
CREATE TABLE quotes (
  "id" bigint PRIMARY KEY DEFAULT timestamp_id('quotes'),
  "account_id" bigint NOT NULL,
  "status_id" bigint NOT NULL,
  "quoted_status_id" bigint,
  "quoted_account_id" bigint,
  "state" integer DEFAULT 0 NOT NULL,
  "approval_uri" varchar,
  "activity_uri" varchar,
  "created_at" timestamp(6) NOT NULL,
  "updated_at" timestamp(6) NOT NULL,
  "legacy" boolean DEFAULT false NOT NULL
);
CREATE UNIQUE INDEX ON quotes (activity_uri) WHERE activity_uri IS NOT NULL;
CREATE UNIQUE INDEX ON quotes (status_id);
ALTER TABLE account_notes ALTER COLUMN "account_id" SET NOT NULL;
ALTER TABLE account_notes ALTER COLUMN "target_account_id" SET NOT NULL;
ALTER TABLE account_pins ALTER COLUMN "account_id" SET NOT NULL;
ALTER TABLE account_pins ALTER COLUMN "target_account_id" SET NOT NULL;
ALTER TABLE users ADD COLUMN "age_verified_at" timestamp(6);
ALTER TABLE users ADD COLUMN "require_tos_interstitial" boolean DEFAULT false NOT NULL;
ALTER TABLE users DROP COLUMN "encrypted_otp_secret";
ALTER TABLE users DROP COLUMN "encrypted_otp_secret_iv";
ALTER TABLE users DROP COLUMN "encrypted_otp_secret_salt";
ALTER TABLE account_deletion_requests ALTER COLUMN "account_id" SET NOT NULL;
ALTER TABLE account_conversations ALTER COLUMN "account_id" SET NOT NULL;
ALTER TABLE account_conversations ALTER COLUMN "conversation_id" SET NOT NULL;
ALTER TABLE announcement_reactions ALTER COLUMN "account_id" SET NOT NULL;
ALTER TABLE announcement_reactions ALTER COLUMN "announcement_id" SET NOT NULL;
INSERT INTO schema_migrations VALUES ('20250627132728');

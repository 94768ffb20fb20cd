-- Mastodon 4.2: the tables Mastomend reads or whose rows matter to it (facts/mastodon-media.md §13).
CREATE TABLE schema_migrations (version varchar PRIMARY KEY);
CREATE TABLE ar_internal_metadata (
  key varchar PRIMARY KEY, value varchar, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL
);
INSERT INTO ar_internal_metadata VALUES ('environment', 'production', now(), now());
CREATE FUNCTION timestamp_id(table_name text) RETURNS bigint AS $$
  SELECT ((extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16)
         | (nextval((table_name || '_id_seq')::regclass) & 65535)
$$ LANGUAGE sql VOLATILE;
CREATE SEQUENCE accounts_id_seq;
CREATE TABLE accounts (
  "id" bigint PRIMARY KEY DEFAULT timestamp_id('accounts'),
  "username" varchar DEFAULT '' NOT NULL,
  "domain" varchar,
  "private_key" text,
  "public_key" text DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "note" text DEFAULT '' NOT NULL,
  "display_name" varchar DEFAULT '' NOT NULL,
  "uri" varchar DEFAULT '' NOT NULL,
  "url" varchar,
  "avatar_file_name" varchar,
  "avatar_content_type" varchar,
  "avatar_file_size" integer,
  "avatar_updated_at" timestamp,
  "header_file_name" varchar,
  "header_content_type" varchar,
  "header_file_size" integer,
  "header_updated_at" timestamp,
  "avatar_remote_url" varchar,
  "locked" boolean DEFAULT false NOT NULL,
  "header_remote_url" varchar DEFAULT '' NOT NULL,
  "last_webfingered_at" timestamp,
  "inbox_url" varchar DEFAULT '' NOT NULL,
  "outbox_url" varchar DEFAULT '' NOT NULL,
  "shared_inbox_url" varchar DEFAULT '' NOT NULL,
  "followers_url" varchar DEFAULT '' NOT NULL,
  "protocol" integer DEFAULT 0 NOT NULL,
  "memorial" boolean DEFAULT false NOT NULL,
  "moved_to_account_id" bigint,
  "featured_collection_url" varchar,
  "fields" jsonb,
  "actor_type" varchar,
  "discoverable" boolean,
  "also_known_as" varchar[],
  "silenced_at" timestamp,
  "suspended_at" timestamp,
  "hide_collections" boolean,
  "avatar_storage_schema_version" integer,
  "header_storage_schema_version" integer,
  "devices_url" varchar,
  "suspension_origin" integer,
  "sensitized_at" timestamp,
  "trendable" boolean,
  "reviewed_at" timestamp,
  "requested_review_at" timestamp,
  "indexable" boolean DEFAULT false NOT NULL
);
CREATE UNIQUE INDEX ON accounts (lower((username)::text), COALESCE(lower((domain)::text), ''::text));
CREATE SEQUENCE media_attachments_id_seq;
CREATE TABLE media_attachments (
  "id" bigint PRIMARY KEY DEFAULT timestamp_id('media_attachments'),
  "status_id" bigint,
  "file_file_name" varchar,
  "file_content_type" varchar,
  "file_file_size" integer,
  "file_updated_at" timestamp,
  "remote_url" varchar DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "shortcode" varchar,
  "type" integer DEFAULT 0 NOT NULL,
  "file_meta" json,
  "account_id" bigint,
  "description" text,
  "scheduled_status_id" bigint,
  "blurhash" varchar,
  "processing" integer,
  "file_storage_schema_version" integer,
  "thumbnail_file_name" varchar,
  "thumbnail_content_type" varchar,
  "thumbnail_file_size" integer,
  "thumbnail_updated_at" timestamp,
  "thumbnail_remote_url" varchar
);
CREATE UNIQUE INDEX ON media_attachments (shortcode) WHERE shortcode IS NOT NULL;
CREATE TABLE custom_emojis (
  "id" bigserial PRIMARY KEY,
  "shortcode" varchar DEFAULT '' NOT NULL,
  "domain" varchar,
  "image_file_name" varchar,
  "image_content_type" varchar,
  "image_file_size" integer,
  "image_updated_at" timestamp,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "disabled" boolean DEFAULT false NOT NULL,
  "uri" varchar,
  "image_remote_url" varchar,
  "visible_in_picker" boolean DEFAULT true NOT NULL,
  "category_id" bigint,
  "image_storage_schema_version" integer
);
CREATE UNIQUE INDEX ON custom_emojis (shortcode, domain);
CREATE TABLE custom_emoji_categories (
  "id" bigserial PRIMARY KEY,
  "name" varchar,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX ON custom_emoji_categories (name);
CREATE TABLE preview_cards (
  "id" bigserial PRIMARY KEY,
  "url" varchar DEFAULT '' NOT NULL,
  "title" varchar DEFAULT '' NOT NULL,
  "description" varchar DEFAULT '' NOT NULL,
  "image_file_name" varchar,
  "image_content_type" varchar,
  "image_file_size" integer,
  "image_updated_at" timestamp,
  "type" integer DEFAULT 0 NOT NULL,
  "html" text DEFAULT '' NOT NULL,
  "author_name" varchar DEFAULT '' NOT NULL,
  "author_url" varchar DEFAULT '' NOT NULL,
  "provider_name" varchar DEFAULT '' NOT NULL,
  "provider_url" varchar DEFAULT '' NOT NULL,
  "width" integer DEFAULT 0 NOT NULL,
  "height" integer DEFAULT 0 NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "embed_url" varchar DEFAULT '' NOT NULL,
  "image_storage_schema_version" integer,
  "blurhash" varchar,
  "language" varchar,
  "max_score" double precision,
  "max_score_at" timestamp,
  "trendable" boolean,
  "link_type" integer,
  "published_at" timestamp(6),
  "image_description" varchar DEFAULT '' NOT NULL
);
CREATE UNIQUE INDEX ON preview_cards (url);
CREATE TABLE preview_cards_statuses (
  "preview_card_id" bigint NOT NULL,
  "status_id" bigint NOT NULL,
  PRIMARY KEY (status_id, preview_card_id)
);
CREATE TABLE preview_card_providers (
  "id" bigserial PRIMARY KEY,
  "domain" varchar DEFAULT '' NOT NULL,
  "icon_file_name" varchar,
  "icon_content_type" varchar,
  "icon_file_size" bigint,
  "icon_updated_at" timestamp,
  "trendable" boolean,
  "reviewed_at" timestamp,
  "requested_review_at" timestamp,
  "created_at" timestamp(6) NOT NULL,
  "updated_at" timestamp(6) NOT NULL
);
CREATE UNIQUE INDEX ON preview_card_providers (domain);
CREATE TABLE preview_card_trends (
  "id" bigserial PRIMARY KEY,
  "preview_card_id" bigint NOT NULL,
  "score" double precision DEFAULT 0.0 NOT NULL,
  "rank" integer DEFAULT 0 NOT NULL,
  "allowed" boolean DEFAULT false NOT NULL,
  "language" varchar
);
CREATE UNIQUE INDEX ON preview_card_trends (preview_card_id);
CREATE TABLE site_uploads (
  "id" bigserial PRIMARY KEY,
  "var" varchar DEFAULT '' NOT NULL,
  "file_file_name" varchar,
  "file_content_type" varchar,
  "file_file_size" integer,
  "file_updated_at" timestamp,
  "meta" json,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "blurhash" varchar
);
CREATE UNIQUE INDEX ON site_uploads (var);
CREATE TABLE backups (
  "id" bigserial PRIMARY KEY,
  "user_id" bigint,
  "dump_file_name" varchar,
  "dump_content_type" varchar,
  "dump_updated_at" timestamp,
  "processed" boolean DEFAULT false NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "dump_file_size" bigint
);
CREATE TABLE imports (
  "id" bigserial PRIMARY KEY,
  "type" integer NOT NULL,
  "approved" boolean DEFAULT false NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "data_file_name" varchar,
  "data_content_type" varchar,
  "data_file_size" integer,
  "data_updated_at" timestamp,
  "account_id" bigint NOT NULL,
  "overwrite" boolean DEFAULT false NOT NULL
);
CREATE TABLE settings (
  "id" bigserial PRIMARY KEY,
  "var" varchar NOT NULL,
  "value" text,
  "thing_type" varchar,
  "created_at" timestamp,
  "updated_at" timestamp,
  "thing_id" bigint
);
CREATE UNIQUE INDEX ON settings (thing_type, thing_id, var);
CREATE TABLE domain_blocks (
  "id" bigserial PRIMARY KEY,
  "domain" varchar DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "severity" integer DEFAULT 0,
  "reject_media" boolean DEFAULT false NOT NULL,
  "reject_reports" boolean DEFAULT false NOT NULL,
  "private_comment" text,
  "public_comment" text,
  "obfuscate" boolean DEFAULT false NOT NULL
);
CREATE UNIQUE INDEX ON domain_blocks (domain);
CREATE TABLE domain_allows (
  "id" bigserial PRIMARY KEY,
  "domain" varchar DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX ON domain_allows (domain);
CREATE SEQUENCE statuses_id_seq;
CREATE TABLE statuses (
  "id" bigint PRIMARY KEY DEFAULT timestamp_id('statuses'),
  "uri" varchar,
  "text" text DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "in_reply_to_id" bigint,
  "reblog_of_id" bigint,
  "url" varchar,
  "sensitive" boolean DEFAULT false NOT NULL,
  "visibility" integer DEFAULT 0 NOT NULL,
  "spoiler_text" text DEFAULT '' NOT NULL,
  "reply" boolean DEFAULT false NOT NULL,
  "language" varchar,
  "conversation_id" bigint,
  "local" boolean,
  "account_id" bigint NOT NULL,
  "application_id" bigint,
  "in_reply_to_account_id" bigint,
  "poll_id" bigint,
  "deleted_at" timestamp,
  "edited_at" timestamp,
  "trendable" boolean,
  "ordered_media_attachment_ids" bigint[]
);
CREATE UNIQUE INDEX ON statuses (uri) WHERE uri IS NOT NULL;
CREATE TABLE status_edits (
  "id" bigserial PRIMARY KEY,
  "status_id" bigint NOT NULL,
  "account_id" bigint,
  "text" text DEFAULT '' NOT NULL,
  "spoiler_text" text DEFAULT '' NOT NULL,
  "created_at" timestamp(6) NOT NULL,
  "updated_at" timestamp(6) NOT NULL,
  "ordered_media_attachment_ids" bigint[],
  "media_descriptions" text[],
  "poll_options" varchar[],
  "sensitive" boolean
);
CREATE TABLE scheduled_statuses (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "scheduled_at" timestamp,
  "params" jsonb
);
CREATE TABLE favourites (
  "id" bigserial PRIMARY KEY,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "account_id" bigint NOT NULL,
  "status_id" bigint NOT NULL
);
CREATE UNIQUE INDEX ON favourites (account_id, status_id);
CREATE TABLE bookmarks (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint NOT NULL,
  "status_id" bigint NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX ON bookmarks (account_id, status_id);
CREATE TABLE status_pins (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint NOT NULL,
  "status_id" bigint NOT NULL,
  "created_at" timestamp DEFAULT now() NOT NULL,
  "updated_at" timestamp DEFAULT now() NOT NULL
);
CREATE UNIQUE INDEX ON status_pins (account_id, status_id);
CREATE TABLE mentions (
  "id" bigserial PRIMARY KEY,
  "status_id" bigint,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "account_id" bigint,
  "silent" boolean DEFAULT false NOT NULL
);
CREATE UNIQUE INDEX ON mentions (account_id, status_id);
CREATE TABLE polls (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "status_id" bigint,
  "expires_at" timestamp,
  "options" varchar[] DEFAULT '{}' NOT NULL,
  "cached_tallies" bigint[] DEFAULT '{}' NOT NULL,
  "multiple" boolean DEFAULT false NOT NULL,
  "hide_totals" boolean DEFAULT false NOT NULL,
  "votes_count" bigint DEFAULT 0 NOT NULL,
  "last_fetched_at" timestamp,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "lock_version" integer DEFAULT 0 NOT NULL,
  "voters_count" bigint
);
CREATE TABLE poll_votes (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "poll_id" bigint,
  "choice" integer DEFAULT 0 NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "uri" varchar
);
CREATE TABLE reports (
  "id" bigserial PRIMARY KEY,
  "status_ids" bigint[] DEFAULT '{}' NOT NULL,
  "comment" text DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "account_id" bigint NOT NULL,
  "action_taken_by_account_id" bigint,
  "target_account_id" bigint NOT NULL,
  "assigned_account_id" bigint,
  "uri" varchar,
  "forwarded" boolean,
  "category" integer DEFAULT 0 NOT NULL,
  "action_taken_at" timestamp,
  "rule_ids" bigint[]
);
CREATE TABLE follows (
  "id" bigserial PRIMARY KEY,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "account_id" bigint NOT NULL,
  "target_account_id" bigint NOT NULL,
  "show_reblogs" boolean DEFAULT true NOT NULL,
  "uri" varchar,
  "notify" boolean DEFAULT false NOT NULL,
  "languages" varchar[]
);
CREATE UNIQUE INDEX ON follows (account_id, target_account_id);
CREATE TABLE follow_requests (
  "id" bigserial PRIMARY KEY,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "account_id" bigint NOT NULL,
  "target_account_id" bigint NOT NULL,
  "show_reblogs" boolean DEFAULT true NOT NULL,
  "uri" varchar,
  "notify" boolean DEFAULT false NOT NULL,
  "languages" varchar[]
);
CREATE UNIQUE INDEX ON follow_requests (account_id, target_account_id);
CREATE TABLE blocks (
  "id" bigserial PRIMARY KEY,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "account_id" bigint NOT NULL,
  "target_account_id" bigint NOT NULL,
  "uri" varchar
);
CREATE UNIQUE INDEX ON blocks (account_id, target_account_id);
CREATE TABLE mutes (
  "id" bigserial PRIMARY KEY,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "hide_notifications" boolean DEFAULT true NOT NULL,
  "account_id" bigint NOT NULL,
  "target_account_id" bigint NOT NULL,
  "expires_at" timestamp
);
CREATE UNIQUE INDEX ON mutes (account_id, target_account_id);
CREATE TABLE account_notes (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "target_account_id" bigint,
  "comment" text NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX ON account_notes (account_id, target_account_id);
CREATE TABLE account_pins (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "target_account_id" bigint,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX ON account_pins (account_id, target_account_id);
CREATE TABLE lists (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint NOT NULL,
  "title" varchar DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "replies_policy" integer DEFAULT 0 NOT NULL,
  "exclusive" boolean DEFAULT false NOT NULL
);
CREATE TABLE list_accounts (
  "id" bigserial PRIMARY KEY,
  "list_id" bigint NOT NULL,
  "account_id" bigint NOT NULL,
  "follow_id" bigint,
  "follow_request_id" bigint
);
CREATE UNIQUE INDEX ON list_accounts (account_id, list_id);
CREATE TABLE notifications (
  "id" bigserial PRIMARY KEY,
  "activity_id" bigint NOT NULL,
  "activity_type" varchar NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "account_id" bigint NOT NULL,
  "from_account_id" bigint NOT NULL,
  "type" varchar
);
CREATE TABLE users (
  "id" bigserial PRIMARY KEY,
  "email" varchar DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "encrypted_password" varchar DEFAULT '' NOT NULL,
  "reset_password_token" varchar,
  "reset_password_sent_at" timestamp,
  "sign_in_count" integer DEFAULT 0 NOT NULL,
  "current_sign_in_at" timestamp,
  "last_sign_in_at" timestamp,
  "admin" boolean DEFAULT false NOT NULL,
  "confirmation_token" varchar,
  "confirmed_at" timestamp,
  "confirmation_sent_at" timestamp,
  "unconfirmed_email" varchar,
  "locale" varchar,
  "encrypted_otp_secret" varchar,
  "encrypted_otp_secret_iv" varchar,
  "encrypted_otp_secret_salt" varchar,
  "consumed_timestep" integer,
  "otp_required_for_login" boolean DEFAULT false NOT NULL,
  "last_emailed_at" timestamp,
  "otp_backup_codes" varchar[],
  "account_id" bigint NOT NULL,
  "disabled" boolean DEFAULT false NOT NULL,
  "moderator" boolean DEFAULT false NOT NULL,
  "invite_id" bigint,
  "chosen_languages" varchar[],
  "created_by_application_id" bigint,
  "approved" boolean DEFAULT true NOT NULL,
  "sign_in_token" varchar,
  "sign_in_token_sent_at" timestamp,
  "webauthn_id" varchar,
  "sign_up_ip" inet,
  "skip_sign_in_token" boolean,
  "role_id" bigint,
  "settings" text,
  "time_zone" varchar
);
CREATE UNIQUE INDEX ON users (confirmation_token);
CREATE UNIQUE INDEX ON users (email);
CREATE UNIQUE INDEX ON users (reset_password_token) WHERE reset_password_token IS NOT NULL;
CREATE TABLE account_stats (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint NOT NULL,
  "statuses_count" bigint DEFAULT 0 NOT NULL,
  "following_count" bigint DEFAULT 0 NOT NULL,
  "followers_count" bigint DEFAULT 0 NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "last_status_at" timestamp
);
CREATE UNIQUE INDEX ON account_stats (account_id);
CREATE TABLE account_deletion_requests (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE TABLE account_conversations (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "conversation_id" bigint,
  "participant_account_ids" bigint[] DEFAULT '{}' NOT NULL,
  "status_ids" bigint[] DEFAULT '{}' NOT NULL,
  "last_status_id" bigint,
  "lock_version" integer DEFAULT 0 NOT NULL,
  "unread" boolean DEFAULT false NOT NULL
);
CREATE UNIQUE INDEX ON account_conversations (account_id, conversation_id, participant_account_ids);
CREATE TABLE custom_filter_statuses (
  "id" bigserial PRIMARY KEY,
  "custom_filter_id" bigint NOT NULL,
  "status_id" bigint NOT NULL,
  "created_at" timestamp(6) NOT NULL,
  "updated_at" timestamp(6) NOT NULL
);
CREATE TABLE status_trends (
  "id" bigserial PRIMARY KEY,
  "status_id" bigint NOT NULL,
  "account_id" bigint NOT NULL,
  "score" double precision DEFAULT 0.0 NOT NULL,
  "rank" integer DEFAULT 0 NOT NULL,
  "allowed" boolean DEFAULT false NOT NULL,
  "language" varchar
);
CREATE UNIQUE INDEX ON status_trends (status_id);
CREATE TABLE unavailable_domains (
  "id" bigserial PRIMARY KEY,
  "domain" varchar DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX ON unavailable_domains (domain);
CREATE TABLE announcement_reactions (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "announcement_id" bigint,
  "name" varchar DEFAULT '' NOT NULL,
  "custom_emoji_id" bigint,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX ON announcement_reactions (account_id, announcement_id, name);
-- What people do besides: read by what decides what is kept, or left dangling when a status goes.
CREATE TABLE conversations (
  "id" bigserial PRIMARY KEY, "uri" varchar, "created_at" timestamp NOT NULL, "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX index_conversations_on_uri ON conversations ("uri") WHERE uri IS NOT NULL;
CREATE TABLE conversation_mutes (
  "id" bigserial PRIMARY KEY, "conversation_id" bigint NOT NULL, "account_id" bigint NOT NULL
);
CREATE UNIQUE INDEX ON conversation_mutes ("account_id", "conversation_id");
CREATE TABLE announcements (
  "id" bigserial PRIMARY KEY,
  "text" text DEFAULT '' NOT NULL,
  "published" boolean DEFAULT false NOT NULL,
  "all_day" boolean DEFAULT false NOT NULL,
  "scheduled_at" timestamp,
  "starts_at" timestamp,
  "ends_at" timestamp,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "published_at" timestamp,
  "status_ids" bigint[]
);
CREATE TABLE announcement_mutes (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "announcement_id" bigint,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE TABLE account_warnings (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "target_account_id" bigint,
  "action" integer DEFAULT 0 NOT NULL,
  "text" text DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "report_id" bigint,
  "status_ids" varchar[],
  "overruled_at" timestamp
);
CREATE TABLE account_moderation_notes (
  "id" bigserial PRIMARY KEY,
  "content" text NOT NULL,
  "account_id" bigint NOT NULL,
  "target_account_id" bigint NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE TABLE admin_action_logs (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint NOT NULL,
  "action" varchar DEFAULT '' NOT NULL,
  "target_type" varchar,
  "target_id" bigint,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "human_identifier" varchar,
  "route_param" varchar,
  "permalink" varchar
);
CREATE TABLE markers (
  "id" bigserial PRIMARY KEY,
  "user_id" bigint,
  "timeline" varchar DEFAULT '' NOT NULL,
  "last_read_id" bigint DEFAULT 0 NOT NULL,
  "lock_version" integer DEFAULT 0 NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX ON markers ("user_id", "timeline");
CREATE TABLE status_stats (
  "id" bigserial PRIMARY KEY,
  "status_id" bigint NOT NULL,
  "replies_count" bigint DEFAULT 0 NOT NULL,
  "reblogs_count" bigint DEFAULT 0 NOT NULL,
  "favourites_count" bigint DEFAULT 0 NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX ON status_stats ("status_id");
CREATE TABLE tags (
  "id" bigserial PRIMARY KEY,
  "name" varchar DEFAULT '' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "usable" boolean,
  "trendable" boolean,
  "listable" boolean,
  "reviewed_at" timestamp,
  "requested_review_at" timestamp,
  "last_status_at" timestamp,
  "max_score" double precision,
  "max_score_at" timestamp,
  "display_name" varchar
);
CREATE UNIQUE INDEX ON tags (lower((name)::text) text_pattern_ops);
CREATE TABLE statuses_tags ("status_id" bigint NOT NULL, "tag_id" bigint NOT NULL);
CREATE UNIQUE INDEX ON statuses_tags ("tag_id", "status_id");
CREATE INDEX ON statuses_tags ("status_id");
CREATE TABLE tag_follows (
  "id" bigserial PRIMARY KEY,
  "tag_id" bigint NOT NULL,
  "account_id" bigint NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL
);
CREATE UNIQUE INDEX ON tag_follows ("account_id", "tag_id");
CREATE TABLE featured_tags (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint NOT NULL,
  "tag_id" bigint NOT NULL,
  "statuses_count" bigint DEFAULT 0 NOT NULL,
  "last_status_at" timestamp,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "name" varchar
);
CREATE UNIQUE INDEX ON featured_tags ("account_id", "tag_id");
CREATE TABLE tombstones (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "uri" varchar NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "by_moderator" boolean
);
CREATE TABLE custom_filters (
  "id" bigserial PRIMARY KEY,
  "account_id" bigint,
  "expires_at" timestamp,
  "phrase" text DEFAULT '' NOT NULL,
  "context" varchar[] DEFAULT '{}' NOT NULL,
  "created_at" timestamp NOT NULL,
  "updated_at" timestamp NOT NULL,
  "action" integer DEFAULT 0 NOT NULL
);
INSERT INTO schema_migrations VALUES ('20230907150100');

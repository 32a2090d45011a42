-- kind: expand
-- Indexes that serve the bounds on what belongs to a user, and their pruning.
CREATE INDEX {concurrently} sessions_not_ended ON sessions (user_id, created_at) WHERE ended_at IS NULL;
CREATE INDEX {concurrently} sessions_client ON sessions (user_id, ip, created_at);
CREATE INDEX {concurrently} sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX {concurrently} api_keys_not_revoked ON api_keys (user_id, created_at) WHERE revoked_at IS NULL;
CREATE INDEX {concurrently} api_keys_revoked ON api_keys (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX {concurrently} api_keys_expiry ON api_keys (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX {concurrently} mail_outbox_recipient ON mail_outbox (user_id, template, created_at);
CREATE INDEX {concurrently} users_session_epoch ON users (id) WHERE session_epoch > 0;
CREATE INDEX {concurrently} users_deleted ON users (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX {concurrently} users_unconfirmed ON users (created_at) WHERE unconfirmed_registration;
-- Served by mail_outbox_recipient.
DROP INDEX {concurrently} mail_outbox_user;
-- Served by sessions_client.
DROP INDEX {concurrently} sessions_user;

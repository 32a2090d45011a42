-- kind: expand
-- Users, sessions, the revocation log, keys, the audit log and the outbox.
-- Words in braces are column types and kinds of tables; engine/dialect.rs translates them for each engine.
-- StoreError::Conflict reports the names of unique constraints.

-- users: Users. `epoch` rises with every change that cached sessions must notice. Access tokens of an epoch below `token_epoch` are invalid.
CREATE TABLE users (
  id {uuid} NOT NULL CONSTRAINT users_id PRIMARY KEY,
  email {text} NOT NULL,
  username {text} NOT NULL,
  first_name {text} NOT NULL,
  last_name {text} NOT NULL,
  avatar {text},
  role {text} NOT NULL,
  is_active {boolean} NOT NULL,
  password_hash {text},
  email_verified_at {timestamp},
  last_login_at {timestamp},
  created_at {timestamp} NOT NULL,
  updated_at {timestamp} NOT NULL,
  epoch {bigint} NOT NULL,
  token_epoch {bigint} NOT NULL
){often_updated};
CREATE UNIQUE INDEX users_email ON users (email);
CREATE UNIQUE INDEX users_username ON users (username);
CREATE INDEX users_newest ON users (created_at, id);
CREATE INDEX users_active_admins ON users (id) WHERE role = 'ADMIN' AND is_active;

-- user_permissions: Permissions of users beyond those of their role.
CREATE TABLE user_permissions (
  user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  permission {text} NOT NULL,
  CONSTRAINT user_permissions_permission PRIMARY KEY (user_id, permission)
){strict};

-- sessions: Sessions, one for each sign-in. `refresh_hash` is the SHA-256 of the current refresh token.
CREATE TABLE sessions (
  id {uuid} NOT NULL CONSTRAINT sessions_id PRIMARY KEY,
  user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  refresh_hash {bytes} NOT NULL,
  created_at {timestamp} NOT NULL,
  last_seen_at {timestamp} NOT NULL,
  idle_expires_at {timestamp} NOT NULL,
  absolute_expires_at {timestamp} NOT NULL,
  remember {boolean} NOT NULL,
  transport {text} NOT NULL,
  ip {text},
  user_agent {text},
  amr {text} NOT NULL,
  authenticated_at {timestamp} NOT NULL,
  epoch {bigint} NOT NULL,
  ended_at {timestamp},
  end_reason {text}
){often_updated};
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_absolute_expiry ON sessions (absolute_expires_at);

-- refresh_grace: The successors of rotated refresh tokens during the grace window, each sealed under a key derived from the old token.
CREATE TABLE refresh_grace (
  token_hash {bytes} NOT NULL CONSTRAINT refresh_grace_token_hash PRIMARY KEY,
  session_id {uuid} NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  sealed_successor {bytes} NOT NULL,
  rotated_at {timestamp} NOT NULL
){strict};
CREATE INDEX refresh_grace_session ON refresh_grace (session_id);
CREATE INDEX refresh_grace_rotated_at ON refresh_grace (rotated_at);

-- revocations: The revocation log, which each replica reads. It has no foreign keys, because an entry outlives the rows that it names.
CREATE TABLE revocations (
  seq {sequence},
  at {timestamp} NOT NULL,
  user_id {uuid} NOT NULL,
  session_id {uuid},
  epoch {bigint} NOT NULL,
  ends {boolean} NOT NULL
){strict};
CREATE INDEX revocations_at ON revocations (at);

-- one_time_tokens: Tokens of mailed links, stored as SHA-256. Each works once.
CREATE TABLE one_time_tokens (
  hash {bytes} NOT NULL CONSTRAINT one_time_tokens_hash PRIMARY KEY,
  purpose {text} NOT NULL,
  user_id {uuid} REFERENCES users (id) ON DELETE CASCADE,
  created_at {timestamp} NOT NULL,
  expires_at {timestamp} NOT NULL,
  used_at {timestamp}
){strict};
CREATE INDEX one_time_tokens_user ON one_time_tokens (user_id, purpose);
CREATE INDEX one_time_tokens_expiry ON one_time_tokens (expires_at);

-- signing_keys: Keys that sign access tokens. The private half is sealed under ENCRYPTION_KEY.
CREATE TABLE signing_keys (
  kid {text} NOT NULL CONSTRAINT signing_keys_kid PRIMARY KEY,
  algorithm {text} NOT NULL,
  public_key {bytes} NOT NULL,
  sealed_private {bytes} NOT NULL,
  created_at {timestamp} NOT NULL,
  retired_at {timestamp}
){strict};

-- audit_log: Who did what to whom, and from where. It has no foreign keys, because the log outlives the users in it.
CREATE TABLE audit_log (
  id {uuid} NOT NULL CONSTRAINT audit_log_id PRIMARY KEY,
  at {timestamp} NOT NULL,
  action {text} NOT NULL,
  outcome {text} NOT NULL,
  actor_id {uuid},
  subject_id {uuid},
  session_id {uuid},
  ip {text},
  user_agent {text},
  request_id {text},
  details {text}
){strict};
CREATE INDEX audit_log_at ON audit_log (at, id);

-- mail_outbox: Mails to be sent. A mail's link is created when it is sent, and is never stored.
CREATE TABLE mail_outbox (
  id {uuid} NOT NULL CONSTRAINT mail_outbox_id PRIMARY KEY,
  template {text} NOT NULL,
  user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at {timestamp} NOT NULL,
  attempts {bigint} NOT NULL,
  next_attempt_at {timestamp} NOT NULL,
  sent_at {timestamp},
  last_error {text}
){strict};
CREATE INDEX mail_outbox_user ON mail_outbox (user_id);
CREATE INDEX mail_outbox_due ON mail_outbox (next_attempt_at) WHERE sent_at IS NULL;

-- instance: Facts about the installation, which all its replicas share.
CREATE TABLE instance (
  key {text} NOT NULL CONSTRAINT instance_key PRIMARY KEY,
  value {text} NOT NULL
){strict};

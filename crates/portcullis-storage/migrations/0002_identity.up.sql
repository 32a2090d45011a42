-- kind: expand
-- API keys, throttled sign-ins, repetitions in the audit log, mails that were given up, keys that begin to sign later.
-- Only adds: programs of the previous schema run on this one. A migration is one transaction, so its indices cannot be built concurrently.

-- api_keys: API keys. `hash` is the SHA-256 of the whole key. `scopes` is a JSON list of permissions; NULL stands for all that the user has.
CREATE TABLE api_keys (
  id {uuid} NOT NULL CONSTRAINT api_keys_id PRIMARY KEY,
  user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name {text} NOT NULL,
  prefix {text} NOT NULL,
  hash {bytes} NOT NULL,
  scopes {text},
  created_at {timestamp} NOT NULL,
  expires_at {timestamp},
  last_used_at {timestamp},
  epoch {bigint} NOT NULL,
  revoked_at {timestamp}
){often_updated};
CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);
CREATE INDEX api_keys_user ON api_keys (user_id);

-- sign_in_attempts: Failed sign-ins in a row, by account, by client and by both. `subject` is a SHA-256; accounts that do not exist are counted too.
CREATE TABLE sign_in_attempts (
  subject {bytes} NOT NULL CONSTRAINT sign_in_attempts_subject PRIMARY KEY,
  failures {bigint} NOT NULL,
  last_at {timestamp} NOT NULL,
  trusted_until {timestamp}
){often_updated};
CREATE INDEX sign_in_attempts_last ON sign_in_attempts (last_at);

ALTER TABLE audit_log ADD COLUMN times {bigint} NOT NULL DEFAULT 1;
ALTER TABLE audit_log ADD COLUMN last_at {timestamp};
ALTER TABLE audit_log ADD COLUMN gathered_as {bytes};
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX audit_log_gathered ON audit_log (gathered_as);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX audit_log_subject ON audit_log (subject_id, at, id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX audit_log_actor ON audit_log (actor_id, at, id);

ALTER TABLE mail_outbox ADD COLUMN given_up_at {timestamp};
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX mail_outbox_created ON mail_outbox (created_at);

ALTER TABLE signing_keys ADD COLUMN signs_from {timestamp};

-- Drops everything that the initial schema made, and everything in it.
DROP TABLE instance;
DROP TABLE mail_outbox;
DROP TABLE audit_log;
DROP TABLE signing_keys;
DROP TABLE one_time_tokens;
DROP TABLE revocations;
DROP TABLE refresh_grace;
DROP TABLE sessions;
DROP TABLE user_permissions;
DROP TABLE users;

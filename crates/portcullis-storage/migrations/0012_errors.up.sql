-- kind: expand
-- The gateway's own errors. Only adds: programs of the previous schema run on this one.

-- errors: The gateway's own errors, a row for each group. `fingerprint` is the SHA-256 of what the errors of a group have in common. Message, request and release are those of the last one.
CREATE TABLE errors (
  id {uuid} NOT NULL CONSTRAINT errors_id PRIMARY KEY,
  fingerprint {bytes} NOT NULL,
  kind {text} NOT NULL,
  message {text} NOT NULL,
  route {text},
  times {bigint} NOT NULL,
  first_seen_at {timestamp} NOT NULL,
  last_seen_at {timestamp} NOT NULL,
  last_request_id {text},
  release {text} NOT NULL
){often_updated};
CREATE UNIQUE INDEX errors_fingerprint ON errors (fingerprint);
CREATE INDEX errors_last_seen ON errors (last_seen_at, id);

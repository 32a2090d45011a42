-- kind: expand
-- Requests that must not be done twice. Only adds: programs of the previous schema run on this one.

-- idempotency_keys: Requests that carried an Idempotency-Key. `id` is the SHA-256 of caller, endpoint and key, `request` that of the request. `answer` is the outcome as JSON without any credential, written in the transaction that did the request.
CREATE TABLE idempotency_keys (
  id {bytes} NOT NULL CONSTRAINT idempotency_keys_id PRIMARY KEY,
  request {bytes} NOT NULL,
  claimed_at {timestamp} NOT NULL,
  expires_at {timestamp} NOT NULL,
  answer {text}
){often_updated};
CREATE INDEX idempotency_keys_expires ON idempotency_keys (expires_at);

-- kind: expand
-- Known clients, and failed sign-ins that are counted before the password is compared. Only adds: programs of the previous schema run
-- on this one.

-- known_clients: Clients where a user signed in. `client` is the SHA-256 of an IPv4 address or of the /64 of an IPv6 address.
CREATE TABLE known_clients (
  user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  client {bytes} NOT NULL,
  known_until {timestamp} NOT NULL,
  CONSTRAINT known_clients_client PRIMARY KEY (user_id, client)
){often_updated};
CREATE INDEX known_clients_until ON known_clients (known_until);

-- When an attempt failed last; NULL while no attempt since the last success is known to have failed.
ALTER TABLE sign_in_attempts ADD COLUMN failed_at {timestamp};
-- When the failures of a client will have drained away, in milliseconds since 1970.
ALTER TABLE sign_in_attempts ADD COLUMN drains_at {bigint};

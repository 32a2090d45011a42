-- kind: expand
-- Bounds on what belongs to a user. Only adds: programs of the previous schema run on this one.

-- A session of an epoch below its user's session_epoch has ended. Sessions of the previous program have the epoch 0.
ALTER TABLE users ADD COLUMN session_epoch {bigint} NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN user_epoch {bigint} NOT NULL DEFAULT 0;

-- When the deletion of a user with very many rows began. No statement reads such a user any more.
ALTER TABLE users ADD COLUMN deleted_at {timestamp};

-- True from a user's own registration until the address is confirmed or the user signs in.
ALTER TABLE users ADD COLUMN unconfirmed_registration {boolean} NOT NULL DEFAULT FALSE;

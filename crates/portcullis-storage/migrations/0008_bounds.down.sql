ALTER TABLE users DROP COLUMN unconfirmed_registration;
DELETE FROM users WHERE deleted_at IS NOT NULL;
ALTER TABLE users DROP COLUMN deleted_at;
ALTER TABLE sessions DROP COLUMN user_epoch;
ALTER TABLE users DROP COLUMN session_epoch;

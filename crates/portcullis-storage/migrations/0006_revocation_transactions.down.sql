ALTER TABLE revocations DROP COLUMN transaction_id;

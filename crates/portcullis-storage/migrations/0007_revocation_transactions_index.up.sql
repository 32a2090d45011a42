-- kind: expand
-- Finds the entries of the transactions that had not ended at a reading of the revocation log. On SQLite the index is empty.
CREATE INDEX {concurrently} revocations_transaction ON revocations (transaction_id) WHERE transaction_id IS NOT NULL;

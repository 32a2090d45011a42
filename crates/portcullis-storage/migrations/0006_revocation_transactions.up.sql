-- kind: expand
-- The transaction that wrote each entry of the revocation log, so that every replica reads the entry however late its transaction commits. Only adds: programs of the previous schema run on this one, and their entries get the column's default.
-- On SQLite, whose writers take turns, the column stays NULL.
ALTER TABLE revocations ADD COLUMN transaction_id {transaction_id};

DROP INDEX {concurrently} revocations_transaction;

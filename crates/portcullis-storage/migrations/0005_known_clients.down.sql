ALTER TABLE sign_in_attempts DROP COLUMN drains_at;
ALTER TABLE sign_in_attempts DROP COLUMN failed_at;
DROP TABLE known_clients;

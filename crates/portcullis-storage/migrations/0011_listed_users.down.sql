CREATE INDEX {concurrently} users_newest ON users (created_at, id);
CREATE INDEX {concurrently} users_role_newest ON users (role, created_at, id);
CREATE INDEX {concurrently} users_activity_newest ON users (is_active, created_at, id);
CREATE INDEX {concurrently} users_role_activity_newest ON users (role, is_active, created_at, id);
DROP INDEX {concurrently} users_listed_by_role_and_activity;
DROP INDEX {concurrently} users_listed_by_activity;
DROP INDEX {concurrently} users_listed_by_role;
DROP INDEX {concurrently} users_listed;

-- kind: expand
-- The lists of users leave out deleted ones. With indexes that do so too, counting a list reads an index alone.
CREATE INDEX {concurrently} users_listed ON users (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX {concurrently} users_listed_by_role ON users (role, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX {concurrently} users_listed_by_activity ON users (is_active, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX {concurrently} users_listed_by_role_and_activity ON users (role, is_active, created_at, id) WHERE deleted_at IS NULL;
DROP INDEX {concurrently} users_newest;
DROP INDEX {concurrently} users_role_newest;
DROP INDEX {concurrently} users_activity_newest;
DROP INDEX {concurrently} users_role_activity_newest;

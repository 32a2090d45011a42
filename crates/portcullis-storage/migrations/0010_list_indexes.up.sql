-- kind: expand
-- Indexes that serve the filters, the search and the cursors of the long lists.
CREATE INDEX {concurrently} users_role_newest ON users (role, created_at, id);
CREATE INDEX {concurrently} users_activity_newest ON users (is_active, created_at, id);
CREATE INDEX {concurrently} users_role_activity_newest ON users (role, is_active, created_at, id);
CREATE INDEX {concurrently} users_email_prefix ON users (email{bytewise});
CREATE INDEX {concurrently} users_username_prefix ON users (username{bytewise});
CREATE INDEX {concurrently} users_domain_prefix ON users (({email_domain}));
CREATE INDEX {concurrently} audit_log_action ON audit_log (action, at, id);
CREATE INDEX {concurrently} audit_log_subject_action ON audit_log (subject_id, action, at, id);
CREATE INDEX {concurrently} audit_log_actor_action ON audit_log (actor_id, action, at, id);
CREATE INDEX {concurrently} audit_log_failures ON audit_log (at, id) WHERE outcome = 'failure';

//! A database with so many rows that an engine prefers an index to reading a whole table.

use portcullis_storage::Store;

use crate::test_database::TestDatabase;

const ROWS: usize = 5_000;

/// Returns a store on a database that was filled.
pub(super) async fn open(db: &TestDatabase) -> Store {
    let store = db.store().await;
    let script = if store.engine() == "sqlite" { sqlite_script() } else { postgres_script() };
    db.raw().await.run(&script).await;
    store
}

/// Returns the rows that both engines get, given each engine's expressions.
fn script(of_engine: &Expressions) -> String {
    let Expressions { numbers, uuid, hash, past, now, soon, later, yes } = of_engine;
    format!(
        "INSERT INTO users (id, email, username, first_name, last_name, role, is_active, password_hash, created_at, \
           updated_at, epoch, token_epoch) SELECT {uuid}, 'p' || i || '@example.com', 'p' || i, 'A', 'B', 'DEVELOPER', \
           {yes}, 'x', {past}, {past}, 1, 1 FROM {numbers}; \
         INSERT INTO user_permissions (user_id, permission) SELECT id, 'PROJECT_VIEW' FROM users; \
         INSERT INTO sessions (id, user_id, refresh_hash, created_at, last_seen_at, idle_expires_at, absolute_expires_at, \
           remember, transport, amr, authenticated_at, epoch) SELECT {uuid}, id, {hash}, created_at, created_at, {soon}, \
           {later}, {yes}, 'token', '[\"pwd\"]', created_at, 1 FROM users; \
         INSERT INTO revocations (at, user_id, epoch, ends) SELECT created_at, id, 2, NOT {yes} FROM users; \
         INSERT INTO audit_log (id, at, action, outcome, actor_id) \
           SELECT {uuid}, created_at, 'a', 'success', id FROM users; \
         INSERT INTO api_keys (id, user_id, name, prefix, hash, created_at, expires_at, epoch) \
           SELECT {uuid}, id, 'n', 'pk', {hash}, created_at, {later}, 1 FROM users; \
         INSERT INTO mail_outbox (id, template, user_id, created_at, attempts, next_attempt_at, sent_at) \
           SELECT {uuid}, 't', id, created_at, 1, created_at, created_at FROM users; \
         INSERT INTO one_time_tokens (hash, purpose, user_id, created_at, expires_at) \
           SELECT {hash}, 'verify_email', id, created_at, {soon} FROM users; \
         INSERT INTO idempotency_keys (id, request, claimed_at, expires_at) \
           SELECT {hash}, {hash}, created_at, {soon} FROM users; \
         INSERT INTO known_clients (user_id, client, known_until) SELECT id, {hash}, {soon} FROM users; \
         INSERT INTO sign_in_attempts (subject, failures, last_at) SELECT {hash}, 1, created_at FROM users; \
         INSERT INTO refresh_grace (token_hash, session_id, sealed_successor, rotated_at) \
           SELECT refresh_hash, id, refresh_hash, {now} FROM sessions; \
         ANALYZE"
    )
}

struct Expressions {
    /// A table whose column `i` counts from 1.
    numbers: String,
    uuid: String,
    /// 32 bytes, different for each user.
    hash: String,
    /// `i` seconds ago.
    past: String,
    now: String,
    soon: String,
    later: String,
    yes: String,
}

fn sqlite_script() -> String {
    let at = |offset: &str| format!("strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', {offset})");
    let numbers = format!(
        "(WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {ROWS}) \
         SELECT i FROM numbers) AS numbers"
    );
    let script = script(&Expressions {
        numbers,
        uuid: "randomblob(16)".to_owned(),
        hash: "randomblob(32)".to_owned(),
        past: at("'-' || i || ' seconds'"),
        now: at("'0 days'"),
        soon: at("'7 days'"),
        later: at("'30 days'"),
        yes: "1".to_owned(),
    });
    format!("BEGIN; {}; COMMIT; ANALYZE", script.trim_end_matches("; ANALYZE"))
}

fn postgres_script() -> String {
    script(&Expressions {
        numbers: format!("generate_series(1, {ROWS}) AS numbers (i)"),
        uuid: "gen_random_uuid()".to_owned(),
        hash: "sha256(CAST(username AS BYTEA))".to_owned(),
        past: "now() - i * INTERVAL '1 s'".to_owned(),
        now: "now()".to_owned(),
        soon: "now() + INTERVAL '7 days'".to_owned(),
        later: "now() + INTERVAL '30 days'".to_owned(),
        yes: "TRUE".to_owned(),
    })
}

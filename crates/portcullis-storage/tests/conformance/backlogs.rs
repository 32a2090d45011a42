//! Backlogs that no single statement could delete, and rows that somebody holds locked.

use std::time::Duration;

use portcullis_model::Role;
use portcullis_storage::{EndReason, Prunable, Store, StoreError};

use crate::test_database::{RecordingListener, TestDatabase, commit, days, seconds};

/// Events in the backlog: a DELETE of all of them would not end within the limit of a statement. SQLite deletes slower.
const MANY: u64 = 100_000;
const MANY_ON_SQLITE: u64 = 40_000;
/// Rows of a batch.
const BATCH: u64 = 2_000;

async fn sr_52_a_backlog_is_pruned_within_the_limit_of_a_statement(db: TestDatabase) {
    let store = db.store().await;
    let is_sqlite = store.engine() == "sqlite";
    let many = if is_sqlite { MANY_ON_SQLITE } else { MANY };
    let old = (db.now() - days(400)).to_rfc3339();
    let (uuid, at, numbers) = if is_sqlite {
        let numbers = format!(
            "(WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {many}) \
             SELECT i FROM numbers) AS numbers"
        );
        ("randomblob(16)", format!("'{old}'"), numbers)
    } else {
        let numbers = format!("generate_series(1, {many}) AS numbers (i)");
        ("gen_random_uuid()", format!("CAST('{old}' AS TIMESTAMPTZ)"), numbers)
    };
    let mut raw = db.raw().await;
    raw.run(&format!(
        "INSERT INTO audit_log (id, at, action, outcome) SELECT {uuid}, {at}, 'a', 'failure' FROM {numbers}"
    ))
    .await;
    store.close().await;
    let (mut options, _) = db.options();
    options.statement_timeout = seconds(1);
    let store = Store::open(options).await.expect("opens");
    let mut deleted = 0;
    loop {
        let batch = store.prune(Prunable::AuditLog, db.now() - days(365), BATCH).await.expect("deletes");
        deleted += batch;
        if batch < BATCH {
            break;
        }
    }
    assert_eq!(deleted, many);
    assert_eq!(raw.number("SELECT count(*) FROM audit_log").await, 0);
}

/// A DELETE of this many rows takes far longer than [`HURRIED`].
const ROWS: u64 = 10_000;
const HURRIED: Duration = Duration::from_millis(10);
/// Rows that a batch of housekeeping deletes.
const HOUSEKEEPING: u64 = 1_000;

/// Every kind of rows that housekeeping prunes, with an INSERT of old rows. `$at` stands for their time.
fn backlog(what: Prunable) -> (&'static str, &'static str) {
    match what {
        Prunable::RefreshGrace => {
            ("refresh_grace", "(token_hash, session_id, sealed_successor, rotated_at) SELECT $hash, $uuid, 'x', $at")
        }
        Prunable::Revocations => ("revocations", "(at, user_id, epoch, ends) SELECT $at, $uuid, 1, TRUE"),
        Prunable::Sessions => {
            ("sessions", "$session SELECT $uuid, $uuid, $hash, $at, $at, $at, $at, FALSE, 'token', '[]', $at, 1, NULL")
        }
        Prunable::EndedSessions => {
            ("sessions", "$session SELECT $uuid, $uuid, $hash, $at, $at, $at, now(), FALSE, 'token', '[]', $at, 1, $at")
        }
        Prunable::RevokedApiKeys => ("api_keys", "$key SELECT $uuid, $uuid, 'n', 'p', $hash, $at, NULL, 1, $at"),
        Prunable::ExpiredApiKeys => ("api_keys", "$key SELECT $uuid, $uuid, 'n', 'p', $hash, $at, $at, 1, NULL"),
        Prunable::OneTimeTokens => {
            ("one_time_tokens", "(hash, purpose, user_id, created_at, expires_at) SELECT $hash, 'p', $uuid, $at, $at")
        }
        Prunable::SignInAttempts => ("sign_in_attempts", "(subject, failures, last_at) SELECT $hash, 1, $at"),
        Prunable::KnownClients => ("known_clients", "(user_id, client, known_until) SELECT $uuid, $hash, $at"),
        Prunable::Mails => (
            "mail_outbox",
            "(id, template, user_id, created_at, attempts, next_attempt_at) SELECT $uuid, 't', $uuid, $at, 1, $at",
        ),
        Prunable::IdempotencyKeys => {
            ("idempotency_keys", "(id, request, claimed_at, expires_at) SELECT $hash, $hash, $at, $at")
        }
        Prunable::AuditLog => ("audit_log", "(id, at, action, outcome) SELECT $uuid, $at, 'a', 'success'"),
        Prunable::Errors => (
            "errors",
            "(id, fingerprint, kind, message, times, first_seen_at, last_seen_at, release) \
             SELECT $uuid, $hash, 'panic', 'm', 1, $at, $at, 'r'",
        ),
    }
}

const PRUNABLE: [Prunable; 13] = [
    Prunable::RefreshGrace,
    Prunable::Revocations,
    Prunable::Sessions,
    Prunable::EndedSessions,
    Prunable::RevokedApiKeys,
    Prunable::ExpiredApiKeys,
    Prunable::OneTimeTokens,
    Prunable::SignInAttempts,
    Prunable::KnownClients,
    Prunable::Mails,
    Prunable::IdempotencyKeys,
    Prunable::AuditLog,
    Prunable::Errors,
];

/// A store whose statements may take ten milliseconds. On a busy machine those of its opening may take longer.
async fn hurried(db: &TestDatabase) -> Store {
    loop {
        let (mut options, _) = db.options();
        options.statement_timeout = HURRIED;
        if let Ok(store) = Store::open(options).await {
            return store;
        }
    }
}

/// No backlog can be deleted by one statement within the limit of a statement; each is deleted in batches.
#[tokio::test]
async fn sr_52_each_backlog_is_pruned_in_batches() {
    let db = TestDatabase::postgres();
    let store = db.store().await;
    let hurried = hurried(&db).await;
    let mut raw = db.raw().await;
    // The rows need no users.
    raw.run("SET session_replication_role = replica").await;
    let before = db.now() - days(365);
    for what in PRUNABLE {
        let (table, rows) = backlog(what);
        let insert = rows
            .replace(
                "$session",
                "(id, user_id, refresh_hash, created_at, last_seen_at, idle_expires_at, absolute_expires_at, remember, \
                 transport, amr, authenticated_at, epoch, ended_at)",
            )
            .replace("$key", "(id, user_id, name, prefix, hash, created_at, expires_at, epoch, revoked_at)")
            .replace("$uuid", "gen_random_uuid()")
            .replace("$hash", "sha256(CAST(CAST(i AS TEXT) AS BYTEA))")
            .replace("$at", "now() - INTERVAL '400 days'");
        raw.run(&format!("INSERT INTO {table} {insert} FROM generate_series(1, {ROWS}) AS i; ANALYZE {table}")).await;
        let at_once = hurried.prune(what, before, ROWS).await;
        assert!(matches!(at_once, Err(StoreError::Unavailable { .. })), "{what:?}: {at_once:?}");
        for _ in 0..ROWS / HOUSEKEEPING {
            assert_eq!(store.prune(what, before, HOUSEKEEPING).await.expect("deletes"), HOUSEKEEPING, "{what:?}");
        }
        assert_eq!(store.prune(what, before, HOUSEKEEPING).await.expect("deletes"), 0, "{what:?}");
        assert_eq!(raw.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{what:?}");
    }
}

async fn ended_sessions_and_keys_are_pruned_by_their_end(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let (ended, live) = (db.session(ada).insert(&store).await.id, db.session(ada).insert(&store).await.id);
    commit(&store, async |tx| tx.end_session(ended, EndReason::Logout, db.now()).await).await;
    db.clock.advance(days(8));
    assert_eq!(store.prune(Prunable::EndedSessions, db.now() - days(7), 10).await.expect("deletes"), 1);
    assert!(store.session_record(ended).await.expect("reads").is_none());
    assert!(store.session_record(live).await.expect("reads").is_some());
}

/// Pruning passes by a row that another transaction holds.
#[tokio::test]
async fn a_locked_row_does_not_stop_the_pruning() {
    let db = TestDatabase::postgres();
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    for _ in 0..3 {
        let id = db.session(ada).insert(&store).await.id;
        commit(&store, async |tx| tx.end_session(id, EndReason::Logout, db.now()).await).await;
        db.clock.advance(seconds(1));
    }
    let mut raw = db.raw().await;
    let oldest = "(SELECT id FROM sessions ORDER BY ended_at LIMIT 1)";
    raw.run(&format!("BEGIN; UPDATE sessions SET user_agent = 'locked' WHERE id = {oldest}")).await;
    db.clock.advance(days(8));
    assert_eq!(store.prune(Prunable::EndedSessions, db.now() - days(7), 10).await.expect("deletes"), 2);
    raw.run("COMMIT").await;
    assert_eq!(store.prune(Prunable::EndedSessions, db.now() - days(7), 10).await.expect("deletes"), 1);
}

async fn only_users_who_never_came_are_pruned(db: TestDatabase) {
    let store = db.store().await;
    let register = async |name: &str| {
        let new = db.user(name).build();
        commit(&store, async |tx| tx.insert_registered_user(&new).await).await;
        new.user.id
    };
    let abandoned = register("abandoned").await;
    let (confirmed, came, promoted) = (register("confirmed").await, register("came").await, register("promoted").await);
    let (disabled, live) = (register("disabled").await, register("live").await);
    let invited = db.user("invited").insert(&store).await.id;
    let now = db.now();
    commit(&store, async |tx| {
        tx.set_email_verified(confirmed, now).await?;
        assert!(tx.record_login(came, 1, now).await?);
        tx.set_role(promoted, Role::Manager, now).await?;
        tx.set_active(disabled, false, now).await
    })
    .await;
    db.session(live).idle_for(days(20)).insert(&store).await;
    assert_eq!(store.prune_unconfirmed_users(now - days(1), 10).await.expect("deletes"), 0, "they are young");
    db.clock.advance(days(10));
    let listener = RecordingListener::on(&store);
    let pruned = async || store.prune_unconfirmed_users(db.now() - days(9), 10).await.expect("deletes");
    assert_eq!(pruned().await, 1);
    assert_eq!(store.user_by_id(abandoned).await.expect("reads"), None);
    let told: Vec<_> = listener.revocations().iter().map(|entry| (entry.user_id, entry.ends)).collect();
    assert_eq!(told, [(abandoned, true)]);
    let events = store.audit_page(&Default::default(), 10, 0).await.expect("reads").records;
    assert_eq!((events.len(), events[0].subject_id), (1, Some(abandoned)));
    db.clock.advance(days(20));
    assert_eq!(pruned().await, 1, "the session of the other has expired unused");
    for kept in [confirmed, came, promoted, disabled, invited] {
        assert!(store.user_by_id(kept).await.expect("reads").is_some());
    }
}

portcullis_testkit::on_both_engines!(
    sr_52_a_backlog_is_pruned_within_the_limit_of_a_statement,
    ended_sessions_and_keys_are_pruned_by_their_end,
    only_users_who_never_came_are_pruned,
);

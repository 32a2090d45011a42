//! How each engine goes about the hot statements: none of them may walk through a table that grows, and
//! `docs/query-plans.md` shows them. `UPDATE_DOCS=1` writes the page anew.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_model::{Clock, Email, Random, Role, SessionId, Transport};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::PrivatePostgres;

use crate::engine::options::MigrateMode;
use crate::{
    AttemptSubjects, AuditEvent, DatabaseUrl, EndReason, NewSession, OnceKey, Outcome, Prunable, Rotation, Store,
    StoreOptions, TokenPurpose,
};

/// A statement and the lines of its plan.
type Plan = (String, Vec<String>);
type Plans = Arc<Mutex<Vec<Plan>>>;
/// What a use case runs, under its title.
type UseCase = (&'static str, Vec<Plan>);

tokio::task_local! {
    pub(crate) static EXPLAINED: Plans;
}

/// Enough rows that an engine does not prefer to read them all.
const ROWS: usize = 5_000;

fn fill_sqlite() -> String {
    let at = |offset: &str| format!("strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', {offset})");
    let (past, soon, later) = (at("'-' || i || ' seconds'"), at("'7 days'"), at("'30 days'"));
    let numbers =
        format!("WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {ROWS})");
    format!(
        "BEGIN; \
         INSERT INTO users {numbers} SELECT randomblob(16), 'p' || i || '@example.com', 'p' || i, 'A', 'B', NULL, \
           'DEVELOPER', 1, 'x', NULL, NULL, {past}, {past}, 1, 1 FROM numbers; \
         INSERT INTO user_permissions SELECT id, 'PROJECT_VIEW' FROM users; \
         INSERT INTO sessions SELECT randomblob(16), id, randomblob(32), created_at, created_at, {soon}, {later}, 1, \
           'token', NULL, NULL, '[\"pwd\"]', created_at, 1, NULL, NULL FROM users; \
         INSERT INTO revocations (at, user_id, session_id, epoch, ends) SELECT created_at, id, NULL, 2, 0 FROM users; \
         INSERT INTO audit_log SELECT randomblob(16), created_at, 'a', 'success', id, NULL, NULL, NULL, NULL, NULL, NULL, 1, \
           NULL, NULL FROM users; \
         INSERT INTO mail_outbox SELECT randomblob(16), 't', id, created_at, 1, created_at, created_at, NULL, NULL FROM users; \
         INSERT INTO one_time_tokens SELECT randomblob(32), 'verify_email', id, created_at, {soon}, NULL FROM users; \
         INSERT INTO idempotency_keys SELECT randomblob(32), randomblob(32), created_at, {soon}, NULL FROM users; \
         INSERT INTO refresh_grace SELECT randomblob(32), id, x'00', {} FROM sessions; \
         COMMIT; ANALYZE",
        at("'0 days'")
    )
}

fn fill_postgres() -> String {
    format!(
        "INSERT INTO users SELECT gen_random_uuid(), 'p' || i || '@example.com', 'p' || i, 'A', 'B', NULL, 'DEVELOPER', \
           TRUE, 'x', NULL, NULL, now() - i * INTERVAL '1 s', now(), 1, 1 FROM generate_series(1, {ROWS}) i; \
         INSERT INTO user_permissions SELECT id, 'PROJECT_VIEW' FROM users; \
         INSERT INTO sessions SELECT gen_random_uuid(), id, sha256(CAST(username AS BYTEA)), created_at, created_at, \
           now() + INTERVAL '7 days', now() + INTERVAL '30 days', TRUE, 'token', NULL, NULL, '[\"pwd\"]', created_at, 1, \
           NULL, NULL FROM users; \
         INSERT INTO revocations (at, user_id, session_id, epoch, ends) SELECT created_at, id, NULL, 2, FALSE FROM users; \
         INSERT INTO audit_log SELECT gen_random_uuid(), created_at, 'a', 'success', id FROM users; \
         INSERT INTO mail_outbox SELECT gen_random_uuid(), 't', id, created_at, 1, created_at, created_at, NULL FROM users; \
         INSERT INTO one_time_tokens SELECT sha256(CAST(username AS BYTEA)), 'verify_email', id, created_at, \
           now() + INTERVAL '1 day', NULL FROM users; \
         INSERT INTO idempotency_keys SELECT sha256(CAST(username AS BYTEA)), sha256(CAST(username AS BYTEA)), created_at, \
           now() + INTERVAL '1 day', NULL FROM users; \
         INSERT INTO refresh_grace SELECT refresh_hash, id, '\\x00', now() FROM sessions; \
         ANALYZE"
    )
}

async fn filled(url: DatabaseUrl) -> Store {
    let options = StoreOptions {
        url,
        pool_min: 0,
        pool_max: 2,
        acquire_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(60),
        migrate: MigrateMode::Auto,
        migrate_wait: Duration::from_secs(20),
        app_version: "test".to_owned(),
        notify: false,
        clock: Clock::system(),
        random: Random::system(),
        metrics: Metrics::new(&MetricsOptions::default(), "test"),
    };
    let store = Store::open(options).await.expect("opens");
    let script = if store.engine() == "sqlite" { fill_sqlite() } else { fill_postgres() };
    let mut lease = store.shared().pools.writer.acquire().await.expect("connects");
    lease.connection.script(&script).await.expect("fills");
    drop(lease);
    store
}

/// What each use case runs.
async fn plans_of(store: &Store) -> Vec<UseCase> {
    let (clock, random) = (store.clock().clone(), Random::system());
    let now = clock.now();
    let email = Email::parse("p42@example.com").expect("valid");
    let known = store.credentials_by_email(&email).await.expect("reads").expect("exists");
    let user = known.user.id;
    let session = NewSession {
        id: SessionId::new(&clock, &random),
        user_id: user,
        refresh_hash: random.bytes(),
        created_at: now,
        idle_expires_at: now + Duration::from_secs(600),
        absolute_expires_at: now + Duration::from_secs(6000),
        remember: false,
        transport: Transport::Token,
        ip: None,
        user_agent: None,
        amr: vec![],
    };
    let event = AuditEvent {
        at: now,
        action: "a",
        outcome: Outcome::Success,
        actor_id: Some(user),
        subject_id: None,
        session_id: None,
        ip: None,
        user_agent: None,
        request_id: None,
        details: None,
    };
    let mut all = Vec::new();
    let mut explain = async |title: &'static str, work: futures_util::future::BoxFuture<'_, ()>| {
        let plans = Plans::default();
        EXPLAINED.scope(Arc::clone(&plans), work).await;
        let plans = plans.lock().expect("not poisoned").clone();
        all.push((title, plans));
    };
    explain(
        "Login",
        Box::pin(async {
            let subjects = AttemptSubjects { account: random.bytes(), client: random.bytes(), pair: random.bytes() };
            store.sign_in_view(&email, &subjects, None).await.expect("reads");
            let mut tx = store.begin().await.expect("begins");
            tx.insert_session(&session).await.expect("inserts");
            tx.record_login(user, known.epoch, now).await.expect("updates");
            tx.append_audit(&event).await.expect("inserts");
            tx.commit().await.expect("commits");
        }),
    )
    .await;
    explain(
        "A session that is not known here",
        Box::pin(async {
            store.session_copy(session.id).await.expect("reads");
        }),
    )
    .await;
    explain(
        "Refresh",
        Box::pin(async {
            store.refresh_view(session.id).await.expect("reads");
            let mut tx = store.begin().await.expect("begins");
            let rotation = Rotation {
                session_id: session.id,
                presented_hash: session.refresh_hash,
                new_hash: random.bytes(),
                sealed_successor: b"x",
                now,
                idle_expires_at: now + Duration::from_secs(600),
            };
            assert!(tx.rotate_refresh(&rotation).await.expect("updates"));
            tx.commit().await.expect("commits");
            store.refresh_grace(&session.refresh_hash).await.expect("reads");
        }),
    )
    .await;
    explain(
        "The list of one's sessions",
        Box::pin(async {
            store.list_sessions(user, now).await.expect("reads");
        }),
    )
    .await;
    explain(
        "The end of every session of a person",
        Box::pin(async {
            let mut tx = store.begin().await.expect("begins");
            tx.end_sessions_of(user, None, EndReason::LogoutAll, now).await.expect("updates");
            tx.commit().await.expect("commits");
        }),
    )
    .await;
    explain(
        "A change of role",
        Box::pin(async {
            let mut tx = store.begin().await.expect("begins");
            tx.set_role(user, Role::Manager, now).await.expect("updates");
            tx.commit().await.expect("commits");
        }),
    )
    .await;
    explain(
        "Readings of the revocation log",
        Box::pin(async {
            let end = store.feed_end().await.expect("reads");
            store.read_revocations(end).await.expect("reads");
            store.read_new_revocations(end).await.expect("reads");
        }),
    )
    .await;
    explain(
        "A single-use link",
        Box::pin(async {
            let mut tx = store.begin().await.expect("begins");
            tx.consume_one_time_token(&random.bytes(), TokenPurpose::VerifyEmail, now).await.expect("updates");
            tx.commit().await.expect("commits");
        }),
    )
    .await;
    explain(
        "Mails that are due",
        Box::pin(async {
            store.claim_due_mail(now, Duration::from_secs(60), 16).await.expect("updates");
        }),
    )
    .await;
    explain(
        "The newest of the audit log",
        Box::pin(async {
            let filter = crate::AuditFilter { from: Some(now - Duration::from_secs(60)), ..Default::default() };
            store.audit_page(&filter, 20, 0).await.expect("reads");
        }),
    )
    .await;
    explain(
        "The audit log of one person",
        Box::pin(async {
            let filter = crate::AuditFilter { user: Some(user), ..Default::default() };
            store.audit_page(&filter, 20, 0).await.expect("reads");
        }),
    )
    .await;
    explain(
        "Pruning the audit log",
        Box::pin(async {
            store.prune(Prunable::AuditLog, now - Duration::from_secs(86_400), 1_000).await.expect("deletes");
        }),
    )
    .await;
    explain(
        "An API key",
        Box::pin(async {
            store.api_key_copy(&random.bytes()).await.expect("reads");
            store.touch_api_keys(&[(session.id, now)]).await.expect("updates");
        }),
    )
    .await;
    explain(
        "What is done once",
        Box::pin(async {
            let key = OnceKey { id: random.bytes(), request: random.bytes() };
            store.done_before(&key, now).await.expect("reads");
            let mut tx = store.begin().await.expect("begins");
            tx.record_outcome(&key, now, "{}").await.expect("inserts");
        }),
    )
    .await;
    explain(
        "When sessions were last used",
        Box::pin(async {
            store.touch_sessions(&[(session.id, now)]).await.expect("updates");
        }),
    )
    .await;
    explain(
        "Cleaning up",
        Box::pin(async {
            let before = now - Duration::from_secs(40 * 86_400);
            for what in [
                Prunable::RefreshGrace,
                Prunable::Revocations,
                Prunable::Sessions,
                Prunable::OneTimeTokens,
                Prunable::SignInAttempts,
                Prunable::Mails,
                Prunable::IdempotencyKeys,
            ] {
                store.prune(what, before, 1_000).await.expect("deletes");
            }
        }),
    )
    .await;
    all
}

const GROWING: [&str; 9] = [
    "idempotency_keys",
    "users",
    "sessions",
    "revocations",
    "audit_log",
    "mail_outbox",
    "one_time_tokens",
    "refresh_grace",
    "user_permissions",
];

/// Whether a line of a plan reads every row of a table that grows.
fn walks(line: &str) -> bool {
    let line = line.trim().trim_start_matches("->").trim();
    let table = line.strip_prefix("Seq Scan on ").or_else(|| {
        // SQLite: with an index in order is no walk, without one it is.
        line.strip_prefix("SCAN ").filter(|rest| !rest.contains("USING"))
    });
    table.and_then(|rest| rest.split(' ').next()).is_some_and(|table| GROWING.contains(&table))
}

fn page(sqlite: &[UseCase], postgres: &[UseCase]) -> String {
    let mut page = String::from(
        "# Plans of the hot statements\n\n\
         What each engine does for what happens often, on 5,000 people with a session each, after `ANALYZE`. Written by a test,\n\
         which also fails when one of them walks through a table that grows. Statements that only insert are left out. The list\n\
         of accounts counts them all for its page numbers, which is a walk, and is not here.\n",
    );
    for ((title, plans), (_, theirs)) in sqlite.iter().zip(postgres) {
        let _ = write!(page, "\n## {title}\n");
        for ((text, lines), (_, other)) in plans.iter().zip(theirs) {
            if text.starts_with("INSERT") {
                continue;
            }
            let _ = write!(
                page,
                "\n```sql\n{}\n```\n\nSQLite:\n\n```\n{}\n```\n\nPostgreSQL:\n\n```\n{}\n```\n",
                wrapped(text),
                lines.join("\n"),
                other.join("\n")
            );
        }
    }
    page
}

/// At most 120 characters a line.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one");
        if last.len() + word.len() > 118 {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hot_statement_walks_through_a_table_that_grows() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = PrivatePostgres::shared();
    let sqlite = filled(DatabaseUrl::sqlite(folder.path().join("test.db"))).await;
    let postgres = filled(DatabaseUrl::parse(&server.database()).expect("an address")).await;
    let (sqlite, postgres) = (plans_of(&sqlite).await, plans_of(&postgres).await);
    for (title, plans) in sqlite.iter().chain(&postgres) {
        assert!(!plans.is_empty(), "{title}: nothing was explained");
        for (text, lines) in plans {
            assert!(!lines.iter().any(|line| walks(line)), "{title}: {text}\n{}", lines.join("\n"));
        }
    }
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/query-plans.md"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, page(&sqlite, &postgres)).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&file).expect("docs/query-plans.md exists; UPDATE_DOCS=1 writes it");
    for (title, plans) in &sqlite {
        for (text, _) in plans.iter().filter(|(text, _)| !text.starts_with("INSERT")) {
            assert!(
                written.contains(&wrapped(text)),
                "docs/query-plans.md has no {title}; UPDATE_DOCS=1 writes it anew"
            );
        }
    }
}

#[test]
fn a_walk_is_told_from_a_look_up() {
    for line in ["Seq Scan on users", "  ->  Seq Scan on sessions s", "SCAN audit_log", "SCAN users"] {
        assert!(walks(line), "{line}");
    }
    for line in [
        "Index Scan using users_email on users",
        "SEARCH users USING INDEX users_email (email=?)",
        "SCAN audit_log USING INDEX audit_log_at",
        "SCAN clock",
        "Seq Scan on signing_keys",
    ] {
        assert!(!walks(line), "{line}");
    }
}

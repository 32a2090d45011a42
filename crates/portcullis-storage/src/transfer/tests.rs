//! What is carried is everything, between both engines in both directions, and after any interruption.

mod meanwhile;

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_model::{Clock, Email, ProfileName, Random, Role, SecretString, Transport, User, UserId, Username};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::PrivatePostgres;
use tempfile::TempDir;

use super::*;
use crate::engine::options::MigrateMode;
use crate::{AuditEvent, NewSession, NewUser, OpenError, Outcome, Store};

struct Home {
    url: DatabaseUrl,
    _folder: Option<TempDir>,
    _server: Option<PrivatePostgres>,
}

fn sqlite() -> Home {
    let folder = tempfile::tempdir().expect("a folder");
    Home { url: DatabaseUrl::sqlite(folder.path().join("test.db")), _folder: Some(folder), _server: None }
}

fn postgres() -> Home {
    let server = PrivatePostgres::shared();
    let url = DatabaseUrl::parse(&server.database()).expect("an address");
    Home { url, _folder: None, _server: Some(server) }
}

impl Home {
    fn options(&self) -> StoreOptions {
        StoreOptions {
            url: self.url.clone(),
            pool_min: 0,
            pool_max: 2,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            migrate: MigrateMode::Auto,
            migrate_wait: Duration::from_secs(20),
            app_version: "1.2.3".to_owned(),
            notify: false,
            clock: Clock::system(),
            random: Random::system(),
            metrics: Metrics::new(&MetricsOptions::default(), "test"),
        }
    }

    async fn store(&self) -> Store {
        Store::open(self.options()).await.expect("opens")
    }

    async fn side(&self) -> DirectConnection {
        DirectConnection::open(&self.options()).await.expect("connects")
    }
}

/// Hears nothing, and may give up after some rows.
struct Ear {
    left: u64,
    carried_before: u64,
}

impl Ear {
    fn patient() -> Self {
        Self { left: u64::MAX, carried_before: 0 }
    }
}

impl TransferProgress for Ear {
    fn table(&mut self, _name: &'static str, _rows: u64, carried_before: u64) {
        self.carried_before += carried_before;
    }

    fn carried(&mut self, rows: u64) {
        self.left = self.left.checked_sub(rows).expect("INTERRUPTED");
    }

    fn comparing(&mut self) {}
}

async fn fill(home: &Home, people: usize) {
    let store = home.store().await;
    let (clock, random) = (store.clock().clone(), Random::system());
    let now = clock.now();
    for number in 0..people {
        let name = format!("person{number}");
        let user = User {
            id: UserId::new(&clock, &random),
            email: Email::parse(&format!("{name}@bücher.example")).expect("valid"),
            username: Username::parse(&name).expect("valid"),
            first_name: ProfileName::parse("First name", "Zoë 🦊").expect("valid"),
            last_name: ProfileName::parse("Last name", "O'Neil; DROP TABLE users").expect("valid"),
            avatar: (number % 2 == 0).then(|| "/a.png".to_owned()),
            role: Role::Developer,
            is_active: number % 7 != 0,
            email_verified_at: (number % 3 == 0).then_some(now),
            last_login_at: None,
            created_at: now,
            updated_at: now,
        };
        let session = NewSession {
            id: portcullis_model::SessionId::new(&clock, &random),
            user_id: user.id,
            refresh_hash: random.bytes(),
            created_at: now,
            idle_expires_at: now + Duration::from_secs(600),
            absolute_expires_at: now + Duration::from_secs(6000),
            remember: true,
            transport: Transport::Cookie,
            ip: None,
            user_agent: Some("Mozilla/5.0".to_owned()),
            amr: vec!["pwd".to_owned()],
        };
        let event = AuditEvent {
            at: now,
            action: "auth.login",
            outcome: Outcome::Success,
            actor_id: Some(user.id),
            subject_id: None,
            session_id: None,
            ip: None,
            user_agent: None,
            request_id: None,
            details: Some(serde_json::json!({ "a": [1, "ü"] })),
        };
        let (id, session_id) = (user.id, session.id);
        let mut tx = store.begin().await.expect("begins");
        tx.insert_user(&NewUser { user, password_hash: Some(SecretString::new("$argon2id$x")) }).await.expect("is new");
        tx.insert_session(&session).await.expect("is new");
        tx.append_audit(&event).await.expect("inserts");
        if number % 5 == 0 {
            tx.end_session(session_id, crate::EndReason::Logout, now).await.expect("ends");
            tx.set_role(id, Role::Manager, now).await.expect("changes");
        }
        tx.commit().await.expect("commits");
    }
    store.instance_value_or_insert("a key", "a value").await.expect("inserts");
    store.close().await;
}

async fn carry_all(from: &Home, to: &Home) -> Vec<TransferredTable> {
    transfer(&from.options(), &to.options(), false, &mut Ear::patient()).await.expect("moves")
}

async fn everything_arrives(from: Home, to: Home) {
    fill(&from, 40).await;
    let tables = carry_all(&from, &to).await;
    let rows = |name: &str| tables.iter().find(|table| table.name == name).expect("is carried").sum.rows;
    assert_eq!((rows("users"), rows("sessions"), rows("audit_log"), rows("revocations")), (40, 40, 40, 16));
    // The target is a database like any other, and its numbers go on.
    fill_one_more(&to).await;
    // And back again.
    let third = if to.url.engine() == "sqlite" { sqlite() } else { postgres() };
    let again = carry_all(&to, &third).await;
    assert_eq!(again.iter().find(|table| table.name == "users").expect("is carried").sum.rows, 40);
}

async fn fill_one_more(home: &Home) {
    let store = home.store().await;
    let page = store.list_users(&crate::UserFilter::default(), 1, 0).await.expect("reads");
    let mut tx = store.begin().await.expect("begins");
    tx.set_role(page.users[0].id, Role::Tester, store.clock().now()).await.expect("changes");
    tx.commit().await.expect("appends a revocation behind those that were carried");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_from_sqlite_on_postgresql() {
    everything_arrives(sqlite(), postgres()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_from_postgresql_on_sqlite() {
    everything_arrives(postgres(), sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_move_goes_on_where_it_stopped_and_is_served_by_nobody_meanwhile() {
    let (from, to) = (sqlite(), postgres());
    fill(&from, 1_500).await;
    let (source, target) = (from.options(), to.options());
    let interrupted = tokio::spawn(async move {
        transfer(&source, &target, false, &mut Ear { left: 1_200, carried_before: 0 }).await.map(|_| ())
    });
    assert!(interrupted.await.expect_err("it panics half-way").is_panic());
    let refused = Store::open(to.options()).await.err().expect("it is not finished");
    assert!(matches!(refused, OpenError::UnfinishedMove), "{refused:?}");
    let mut ear = Ear::patient();
    transfer(&from.options(), &to.options(), false, &mut ear).await.expect("goes on");
    assert_eq!(ear.carried_before, 1_500, "what was carried before was carried again");
    to.store().await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_changed_between_two_attempts_is_found_out_and_moved_afresh() {
    let (from, to) = (sqlite(), postgres());
    fill(&from, 1_100).await;
    let (source, target) = (from.options(), to.options());
    let interrupted = tokio::spawn(async move {
        transfer(&source, &target, false, &mut Ear { left: 1_000, carried_before: 0 }).await.map(|_| ())
    });
    assert!(interrupted.await.is_err());
    from.side().await.script("UPDATE", "UPDATE users SET first_name = 'Eve'").await.expect("changes");
    let told = transfer(&from.options(), &to.options(), false, &mut Ear::patient()).await.expect_err("it changed");
    assert!(matches!(told, TransferError::Different { table: "users", resumed: true, .. }), "{told:?}");
    assert!(told.hint().is_some_and(|hint| hint.contains("--restart")));
    transfer(&from.options(), &to.options(), true, &mut Ear::patient()).await.expect("moves afresh");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_lose_something_is_refused() {
    let (from, to) = (sqlite(), postgres());
    fill(&from, 2).await;
    let attempt = async |from: &Home, to: &Home| {
        transfer(&from.options(), &to.options(), false, &mut Ear::patient()).await.expect_err("is refused")
    };
    assert!(matches!(attempt(&from, &from).await, TransferError::Same));
    let nowhere = sqlite();
    assert!(matches!(attempt(&nowhere, &to).await, TransferError::NoSource { .. }));
    let DatabaseUrl::Sqlite { path } = &nowhere.url else { unreachable!("it is SQLite") };
    assert!(!path.exists(), "looking made it");
    fill(&to, 1).await;
    assert!(matches!(attempt(&from, &to).await, TransferError::NotEmpty { table: "users", rows: 1 }));
    let old = sqlite();
    old.side().await.close().await;
    assert!(matches!(attempt(&old, &postgres()).await, TransferError::SourceSchema { found: 0, .. }));
    let other = sqlite();
    fill(&other, 1_100).await;
    let half = postgres();
    let (source, target) = (other.options(), half.options());
    let interrupted = tokio::spawn(async move {
        transfer(&source, &target, false, &mut Ear { left: 1_000, carried_before: 0 }).await.map(|_| ())
    });
    assert!(interrupted.await.is_err());
    assert!(matches!(attempt(&from, &half).await, TransferError::OtherSource { .. }));
    assert!(matches!(attempt(&half, &postgres()).await, TransferError::SourceUnfinished));
}

/// Tables of the schema, and the columns of each.
async fn schema(home: &Home) -> BTreeSet<(String, String)> {
    home.store().await.close().await;
    let text = match home.url.engine() {
        "sqlite" => {
            "SELECT m.name AS tab, c.name AS col FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'"
        }
        _ => {
            "SELECT CAST(table_name AS TEXT) AS tab, CAST(column_name AS TEXT) AS col \
             FROM information_schema.columns WHERE table_schema = current_schema()"
        }
    };
    let rows = home.side().await.all(text.to_owned(), vec![]).await.expect("reads");
    let read = rows.iter().map(|row| (row.get("tab").expect("a table"), row.get("col").expect("a column")));
    read.filter(|(table, _): &(String, String)| table != "schema_migrations").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_column_of_every_table_is_carried() {
    let carried: BTreeSet<(String, String)> = TABLES
        .iter()
        .flat_map(|table| table.column_names().into_iter().map(|column| (table.name.to_owned(), column.to_owned())))
        .collect();
    for home in [sqlite(), postgres()] {
        assert_eq!(schema(&home).await, carried, "on {}", home.url.engine());
    }
}

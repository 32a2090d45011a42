//! What `portcullis doctor` says of a database.

use std::time::{Duration, Instant};

use portcullis_model::finding::Status;
use portcullis_model::{Clock, Finding};
use portcullis_storage::{Diagnosis, MigrateMode, Outcome, StoreOptions};
use portcullis_testkit::{PrivatePostgres, free_port, on_both_engines};

use crate::test_database::{TestDatabase, commit, days};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn findings(db: &TestDatabase) -> Vec<Finding> {
    findings_with(db.options().0).await
}

async fn findings_with(options: StoreOptions) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(mut diagnosis) = Diagnosis::open(options, &mut found).await else { return found };
    diagnosis.examine(&mut found).await;
    if let Some(mut diagnosis) = diagnosis.examine_schema(&mut found).await {
        diagnosis.examine_contents(&mut found).await;
        diagnosis.close().await;
    }
    found
}

fn of<'a>(found: &'a [Finding], check: &str) -> &'a Finding {
    found.iter().find(|finding| finding.check == check).unwrap_or_else(|| panic!("no {check} in {found:?}"))
}

on_both_engines!(
    a_good_database_passes,
    pending_migrations_are_told_and_not_applied,
    a_lock_that_is_held_is_a_warning,
    an_old_signing_key_is_a_warning,
    sign_ins_of_one_address_are_counted,
);

async fn a_good_database_passes(db: TestDatabase) {
    db.store().await.close().await;
    let found = findings(&db).await;
    for check in ["connection", "version", "encoding", "locks", "schema", "rights"] {
        assert_eq!(of(&found, &format!("database.{check}")).status, Status::Pass, "{found:?}");
    }
    assert!(!format!("{found:?}").contains("only-for-tests"));
}

async fn pending_migrations_are_told_and_not_applied(db: TestDatabase) {
    db.store().await.close().await;
    db.raw().await.run("DELETE FROM schema_migrations WHERE version > 1").await;
    let schema = |found: &[Finding]| of(found, "database.schema").clone();
    let pending = schema(&findings(&db).await);
    assert!(pending.status == Status::Warn && pending.found.contains("schema 1;"), "{pending:?}");
    let off = StoreOptions { migrate: MigrateMode::Off, ..db.options().0 };
    let refused = schema(&findings_with(off).await);
    assert!(refused.status == Status::Fail && refused.hint.is_some_and(|hint| hint.contains("migrate up")));
    assert_eq!(db.raw().await.number("SELECT max(version) FROM schema_migrations").await, 1);
}

async fn a_lock_that_is_held_is_a_warning(db: TestDatabase) {
    db.store().await.close().await;
    let mut holder = db.raw().await;
    let lock = match db.url.engine() {
        "sqlite" => "BEGIN IMMEDIATE",
        _ => "BEGIN; LOCK TABLE mail_outbox IN EXCLUSIVE MODE",
    };
    holder.run(lock).await;
    let begun = Instant::now();
    let locks = loop {
        let locks = of(&findings(&db).await, "database.locks").clone();
        if locks.status != Status::Pass || begun.elapsed() > PATIENCE {
            break locks;
        }
    };
    assert!(locks.status == Status::Warn && locks.found.contains("held"), "{locks:?}");
    holder.run("ROLLBACK").await;
    assert_eq!(of(&findings(&db).await, "database.locks").status, Status::Pass);
}

async fn an_old_signing_key_is_a_warning(db: TestDatabase) {
    let store = db.store().await;
    let key = portcullis_storage::SigningKey {
        kid: "old".to_owned(),
        algorithm: "EdDSA".to_owned(),
        public_key: vec![1],
        sealed_private: vec![2],
        created_at: db.now() - days(400),
        signs_from: db.now() - days(400),
        retired_at: None,
    };
    commit(&store, async |tx| tx.insert_signing_key(&key).await).await;
    store.close().await;
    let signing = of(&findings(&db).await, "keys.signing").clone();
    assert_eq!((signing.status, signing.found.as_str()), (Status::Warn, "the newest key signs since 400 days"));
}

async fn sign_ins_of_one_address_are_counted(db: TestDatabase) {
    let store = db.store().await;
    for name in ["ada", "bob", "eve"] {
        let user = db.user(name).insert(&store).await;
        let mut event = db.event("auth.login", Outcome::Success);
        (event.subject_id, event.ip) = (Some(user.id), "10.0.0.7".parse().ok());
        commit(&store, async |tx| tx.append_audit(&event).await).await;
    }
    store.close().await;
    let mut diagnosis = Diagnosis::open(db.options().0, &mut Vec::new()).await.expect("it opens");
    let found = diagnosis.client_addresses().await.expect("it reads");
    assert_eq!((found.users, found.addresses, found.address.as_deref()), (3, 1, Some("10.0.0.7")));
    diagnosis.close().await;
}

#[tokio::test]
async fn another_encoding_is_a_failure_with_the_fix() {
    let server = PrivatePostgres::shared();
    let name = format!("test_doctor_latin1_{}", std::process::id());
    server.run_sql(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"));
    let found = findings(&TestDatabase::at(&server.url(&name))).await;
    let encoding = of(&found, "database.encoding");
    assert!(encoding.status == Status::Fail && encoding.found.contains("LATIN1"), "{encoding:?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_apart() {
    let nobody = format!("postgres://ada:hunter2@127.0.0.1:{}/gate", free_port());
    let found = findings(&TestDatabase::at(&nobody)).await;
    let connection = of(&found, "database.connection");
    assert!(connection.status == Status::Fail && connection.found.starts_with("cannot reach PostgreSQL"), "{found:?}");
    assert!(!format!("{found:?}").contains("hunter2"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("none.db");
    let found = findings(&TestDatabase::at_file(&path)).await;
    assert!(of(&found, "database.connection").found.starts_with("there is no database at"), "{found:?}");
    assert!(!path.exists(), "none was made");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_a_warning() {
    let db = TestDatabase::postgres();
    db.store().await.close().await;
    let clock = Clock::system().on_a_machine_ahead_by(90_000_000);
    let found = findings_with(StoreOptions { clock, ..db.options().0 }).await;
    let clock = of(&found, "clock.database");
    assert!(clock.status == Status::Warn && clock.found.contains("s ahead of"), "{clock:?}");
}

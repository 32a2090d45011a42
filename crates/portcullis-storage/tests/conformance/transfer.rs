//! Moving a database to another one, between both engines and after interruptions.

use portcullis_model::{Role, SecretString};
use portcullis_storage::{
    AuditEvent, DatabaseUrl, EndReason, Migrator, NewUser, OpenError, Outcome, Store, StoreOptions, TransferError,
    TransferProgress, TransferredTable, UserFilter, transfer,
};
use serde_json::json;

use crate::test_database::{TestDatabase, commit};

/// Is told of a move's progress, and can interrupt it.
pub(crate) struct Progress {
    /// Rows after which the move is interrupted by a panic.
    rows_left: u64,
    pub(crate) copied_before: u64,
}

impl Progress {
    pub(crate) fn to_the_end() -> Self {
        Self::until(u64::MAX)
    }

    fn until(rows: u64) -> Self {
        Self { rows_left: rows, copied_before: 0 }
    }
}

impl TransferProgress for Progress {
    fn table(&mut self, _name: &'static str, _rows: u64, copied_before: u64) {
        self.copied_before += copied_before;
    }

    fn copied(&mut self, rows: u64) {
        self.rows_left = self.rows_left.checked_sub(rows).expect("INTERRUPTED");
    }

    fn comparing(&mut self) {}
}

/// Inserts users, each with a session and an audit event. Every fifth one has two revocations.
pub(crate) async fn fill(db: &TestDatabase, users: usize) {
    let store = db.store().await;
    for number in 0..users {
        let name = format!("user{number}");
        let email = format!("{name}@bücher.example");
        let user = db.user(&name).email(&email).first_name("Zoë 🦊").avatar("/a.png").build();
        let user = NewUser { password_hash: Some(SecretString::new("$argon2id$x")), ..user };
        let session = db.session(user.user.id).build();
        let event = AuditEvent {
            actor_id: Some(user.user.id),
            details: Some(json!({ "a": [1, "ü"] })),
            ..db.event("auth.login", Outcome::Success)
        };
        commit(&store, async |tx| {
            tx.insert_user(&user).await?;
            tx.insert_session(&session).await?;
            tx.append_audit(&event).await?;
            if number % 5 == 0 {
                tx.end_session(session.id, EndReason::Logout, db.now()).await?;
                tx.set_role(user.user.id, Role::Manager, db.now()).await?;
            }
            Ok(())
        })
        .await;
    }
    store.instance_value_or_insert("a key", "a value").await.expect("inserts");
    store.close().await;
}

fn options(db: &TestDatabase) -> StoreOptions {
    db.options().0
}

pub(crate) async fn move_all(from: &TestDatabase, to: &TestDatabase) -> Result<Vec<TransferredTable>, TransferError> {
    transfer(&options(from), &options(to), false, &mut Progress::to_the_end()).await
}

/// Moves everything after deleting what an earlier attempt left in the target.
pub(crate) async fn restart(from: &TestDatabase, to: &TestDatabase) {
    transfer(&options(from), &options(to), true, &mut Progress::to_the_end()).await.expect("moves");
}

/// Begins a move and interrupts it after a thousand rows.
pub(crate) async fn interrupt(from: &TestDatabase, to: &TestDatabase) {
    let (source, target) = (options(from), options(to));
    let interrupted =
        tokio::spawn(async move { transfer(&source, &target, false, &mut Progress::until(999)).await.map(|_| ()) });
    assert!(interrupted.await.expect_err("the move is interrupted").is_panic());
}

pub(crate) async fn error_of_move(from: &TestDatabase, to: &TestDatabase) -> TransferError {
    move_all(from, to).await.expect_err("the move is refused")
}

pub(crate) fn rows(tables: &[TransferredTable], name: &str) -> u64 {
    tables.iter().find(|table| table.name == name).expect("the table is moved").checksum.rows
}

/// Changes a user, which appends to the revocation log.
async fn change_a_user(store: &Store) {
    let page = store.list_users(&UserFilter::default(), 1, 0).await.expect("reads");
    let now = store.clock().now();
    assert!(commit(store, async |tx| tx.set_role(page.users[0].id, Role::Tester, now).await).await);
}

async fn everything_is_moved(from: TestDatabase, to: TestDatabase) {
    fill(&from, 40).await;
    let tables = move_all(&from, &to).await.expect("moves");
    let moved = ["users", "sessions", "audit_log", "revocations", "instance"].map(|name| rows(&tables, name));
    assert_eq!(moved, [40, 40, 40, 16, 1]);
    // The numbers of the revocation log go on after those that were copied.
    let store = to.store().await;
    change_a_user(&store).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_moved_from_sqlite_to_postgresql() {
    everything_is_moved(TestDatabase::sqlite(), TestDatabase::postgres()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_moved_from_postgresql_to_sqlite() {
    everything_is_moved(TestDatabase::postgres(), TestDatabase::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_database_can_be_moved_back() {
    let (from, to, back) = (TestDatabase::sqlite(), TestDatabase::postgres(), TestDatabase::sqlite());
    fill(&from, 40).await;
    let there = move_all(&from, &to).await.expect("moves");
    let back = move_all(&to, &back).await.expect("moves back");
    let checksums = |tables: &[TransferredTable]| tables.iter().map(|table| table.checksum).collect::<Vec<_>>();
    assert_eq!(checksums(&there), checksums(&back));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_move_continues_where_it_stopped() {
    let (from, to) = (TestDatabase::sqlite(), TestDatabase::postgres());
    fill(&from, 1_500).await;
    interrupt(&from, &to).await;
    let mut progress = Progress::to_the_end();
    transfer(&options(&from), &options(&to), false, &mut progress).await.expect("continues");
    assert_eq!(progress.copied_before, 1_000, "copied rows were copied again");
    to.store().await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_server_starts_on_the_target_of_an_unfinished_move() {
    let (from, to) = (TestDatabase::sqlite(), TestDatabase::postgres());
    fill(&from, 1_100).await;
    interrupt(&from, &to).await;
    let error = to.open_error().await;
    assert!(matches!(error, OpenError::UnfinishedMove), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_changed_between_attempts_is_found() {
    let (from, to) = (TestDatabase::sqlite(), TestDatabase::postgres());
    fill(&from, 1_100).await;
    interrupt(&from, &to).await;
    from.raw().await.run("UPDATE users SET first_name = 'Eve'").await;
    let error = error_of_move(&from, &to).await;
    assert!(matches!(error, TransferError::Different { table: "users", resumed: true, .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--restart")));
    restart(&from, &to).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_not_moved_to_itself() {
    let db = TestDatabase::sqlite();
    db.store().await.close().await;
    assert!(matches!(error_of_move(&db, &db).await, TransferError::Same));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_names_of_one_file_are_one_database() {
    let db = TestDatabase::sqlite();
    db.store().await.close().await;
    let DatabaseUrl::Sqlite { path } = &db.url else { unreachable!("it is SQLite") };
    let link = path.with_file_name("link.db");
    std::os::unix::fs::symlink(path, &link).expect("the folder is writable");
    let linked = TestDatabase::at_file(&link);
    assert!(matches!(error_of_move(&db, &linked).await, TransferError::Same));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_source_is_not_created() {
    let missing = TestDatabase::sqlite();
    let error = error_of_move(&missing, &TestDatabase::sqlite()).await;
    assert!(matches!(error, TransferError::NoSource { .. }), "{error:?}");
    let DatabaseUrl::Sqlite { path } = &missing.url else { unreachable!("it is SQLite") };
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_holds_rows_is_refused() {
    let (from, to) = (TestDatabase::sqlite(), TestDatabase::postgres());
    fill(&from, 2).await;
    fill(&to, 1).await;
    let error = error_of_move(&from, &to).await;
    assert!(matches!(error, TransferError::NotEmpty { table: "users", rows: 1 }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_with_an_old_schema_is_refused() {
    let old = TestDatabase::sqlite();
    // Connecting creates the file and no table.
    Migrator::connect(&options(&old)).await.expect("connects").close().await;
    let error = error_of_move(&old, &TestDatabase::sqlite()).await;
    assert!(matches!(error, TransferError::SourceSchema { found: 0, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_with_another_unfinished_move_is_refused() {
    let (other, from, to) = (TestDatabase::sqlite(), TestDatabase::sqlite(), TestDatabase::postgres());
    fill(&other, 1_100).await;
    fill(&from, 1).await;
    interrupt(&other, &to).await;
    let error = error_of_move(&from, &to).await;
    assert!(matches!(error, TransferError::OtherSource { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_of_an_unfinished_move_is_no_source() {
    let (from, to) = (TestDatabase::sqlite(), TestDatabase::postgres());
    fill(&from, 1_100).await;
    interrupt(&from, &to).await;
    let error = error_of_move(&to, &TestDatabase::sqlite()).await;
    assert!(matches!(error, TransferError::SourceUnfinished), "{error:?}");
}

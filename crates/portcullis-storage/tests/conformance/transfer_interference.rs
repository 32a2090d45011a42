//! Changes that others make to either database before and during a move.

use portcullis_storage::{DatabaseUrl, OpenError, TransferError, TransferProgress, UserFilter, transfer};
use portcullis_testkit::RawConnection;

use crate::builders::first_name;
use crate::test_database::TestDatabase;
use crate::transfer::{error_of_move, fill, interrupt, move_all, restart, rows};

/// Changes a database when the first table of a move begins.
struct Interference {
    on: Option<RawConnection>,
    script: &'static str,
}

impl TransferProgress for Interference {
    fn table(&mut self, _name: &'static str, _rows: u64, _copied_before: u64) {
        let Some(mut on) = self.on.take() else { return };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(on.run(self.script)));
    }

    fn copied(&mut self, _rows: u64) {}

    fn comparing(&mut self) {}
}

async fn later_changes_of_the_source_are_not_moved(from: TestDatabase, to: TestDatabase) {
    fill(&from, 20).await;
    let script = "UPDATE users SET first_name = 'Eve'; DELETE FROM sessions; INSERT INTO instance VALUES ('b', 'c')";
    let mut interference = Interference { on: Some(from.raw().await), script };
    let tables = transfer(&from.options().0, &to.options().0, false, &mut interference).await.expect("moves");
    assert_eq!(["users", "sessions", "instance"].map(|name| rows(&tables, name)), [20, 20, 1]);
    let sessions_left = from.raw().await.number("SELECT count(*) FROM sessions").await;
    assert_eq!(sessions_left, 0, "the source did not change during the move");
    let users = to.store().await.list_users(&UserFilter::default(), 20, 0).await.expect("reads").users;
    assert!(users.iter().all(|user| user.first_name == first_name("Zoë 🦊")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_changes_of_a_sqlite_source_are_not_moved() {
    later_changes_of_the_source_are_not_moved(TestDatabase::sqlite(), TestDatabase::postgres()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_changes_of_a_postgresql_source_are_not_moved() {
    later_changes_of_the_source_are_not_moved(TestDatabase::postgres(), TestDatabase::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_target_is_found_by_the_comparison() {
    let (from, to) = (TestDatabase::sqlite(), TestDatabase::postgres());
    fill(&from, 5).await;
    to.store().await.close().await;
    let script = "INSERT INTO instance VALUES ('b', 'c')";
    let mut interference = Interference { on: Some(to.raw().await), script };
    let moved = transfer(&from.options().0, &to.options().0, false, &mut interference).await;
    let error = moved.expect_err("the databases differ");
    assert!(matches!(error, TransferError::Different { table: "instance", resumed: false, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rows_that_conflict_with_copied_ones_are_reported() {
    let engines =
        [(TestDatabase::sqlite(), TestDatabase::postgres()), (TestDatabase::postgres(), TestDatabase::sqlite())];
    for (from, to) in engines {
        fill(&from, 1_100).await;
        interrupt(&from, &to).await;
        // A copied user is deleted, and another one takes the address.
        let swap = "DELETE FROM users WHERE username = 'user0'; UPDATE users \
                    SET email = 'user0@xn--bcher-kva.example', username = 'user0' WHERE username = 'user1099'";
        from.raw().await.run(swap).await;
        let error = error_of_move(&from, &to).await;
        assert!(matches!(error, TransferError::Conflict { table: "users", resumed: true, .. }), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--restart")), "{:?}", error.hint());
        restart(&from, &to).await;
    }
}

/// Returns the content of a SQLite file.
fn content(db: &TestDatabase) -> Vec<u8> {
    let DatabaseUrl::Sqlite { path } = &db.url else { unreachable!("it is SQLite") };
    std::fs::read(path).expect("the file exists")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_file_stays_byte_for_byte_as_it_was() {
    let from = TestDatabase::sqlite();
    fill(&from, 5).await;
    let before = content(&from);
    move_all(&from, &TestDatabase::sqlite()).await.expect("moves");
    assert!(content(&from) == before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_source_stays_byte_for_byte_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    for text in [String::new(), "Remember the milk. ".repeat(100)] {
        let path = folder.path().join("source.db");
        std::fs::write(&path, &text).expect("the folder is writable");
        let from = TestDatabase::at_file(&path);
        let error = error_of_move(&from, &TestDatabase::sqlite()).await;
        match &error {
            TransferError::SourceSchema { found: 0, .. } => assert!(text.is_empty()),
            TransferError::Source(OpenError::NotADatabase { .. }) => assert!(!text.is_empty()),
            _ => panic!("{error:?}"),
        }
        assert!(content(&from) == text.as_bytes());
    }
}

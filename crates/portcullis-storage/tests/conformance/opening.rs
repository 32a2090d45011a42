//! What an operator reads when a database does not open, and how a database is set up when it does.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use portcullis_storage::{DatabaseUrl, OpenError, Store};
use portcullis_testkit::PrivatePostgres;

use crate::test_database::TestDatabase;

#[tokio::test]
async fn a_missing_or_unwritable_folder_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("the folder is writable");
    // No user, not even root, creates files in /proc.
    for path in [folder.path().join("missing/p.db"), file.join("p.db"), "/proc/p.db".into(), folder.path().into()] {
        let error = TestDatabase::at_file(&path).open_error().await;
        assert!(matches!(error, OpenError::File { .. }), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("writable")));
    }
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    let text = "Remember the milk. ".repeat(100);
    std::fs::write(&path, &text).expect("the folder is writable");
    let error = TestDatabase::at_file(&path).open_error().await;
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).expect("reads"), text);
}

#[tokio::test]
async fn a_new_database_is_readable_only_by_its_owner() {
    let db = TestDatabase::sqlite();
    let store = db.store().await;
    db.user("ada").insert(&store).await;
    let DatabaseUrl::Sqlite { path } = &db.url else { unreachable!("the database is SQLite") };
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", path.display());
        let mode = std::fs::metadata(&file).expect("exists").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} is open to others");
    }
}

#[tokio::test]
async fn opening_a_migrated_file_takes_few_milliseconds() {
    let db = TestDatabase::sqlite();
    db.store().await.close().await;
    // A machine that is busy delays many of them, but not all.
    let mut fastest = f64::INFINITY;
    for _ in 0..100 {
        let begun = Instant::now();
        let store = db.store().await;
        fastest = fastest.min(begun.elapsed().as_secs_f64());
        store.close().await;
        if fastest < 0.02 {
            return;
        }
    }
    panic!("the fastest of a hundred openings took {fastest} s");
}

#[tokio::test]
async fn sqlite_keeps_acknowledged_writes_after_a_power_cut() {
    let store = TestDatabase::sqlite().store().await;
    let settings = store.durability().await.expect("reads");
    // 2 is FULL (https://sqlite.org/pragma.html#pragma_synchronous).
    assert_eq!(
        settings,
        [("journal_mode", "wal".to_owned()), ("synchronous", "2".to_owned()), ("foreign_keys", "1".to_owned())]
    );
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_showing_it() {
    let server = PrivatePostgres::shared();
    let error = TestDatabase::at(&server.database().replace("only-for-tests", "hunter2")).open_error().await;
    assert!(matches!(error, OpenError::Refused { .. }), "{error:?}");
    let shown = format!("{error} {error:?} {:?}", error.hint());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_missing_postgresql_database_is_named() {
    let server = PrivatePostgres::shared();
    let error = TestDatabase::at(&server.url("no_such_database")).open_error().await;
    assert!(matches!(error, OpenError::MissingDatabase { .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("createdb no_such_database")));
    let shown = format!("{error} {error:?} {:?}", error.hint());
    assert!(!shown.contains("only-for-tests"), "{shown}");
}

#[tokio::test]
async fn an_unreachable_postgresql_is_named() {
    let port = portcullis_testkit::free_port();
    let db = TestDatabase::at(&format!("postgres://ada:hunter2@127.0.0.1:{port}/gate"));
    let (mut options, _) = db.options();
    options.acquire_timeout = Duration::from_millis(300);
    let error = Store::open(options).await.err().expect("nothing listens there");
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}/gate")), "{error}");
}

#[tokio::test]
async fn postgresql_is_reached_over_verified_tls() {
    let (server, authority) = PrivatePostgres::start_with_tls();
    let url = format!("{}?sslmode=verify-full&sslrootcert={}", server.database(), authority.display());
    let store = TestDatabase::at(&url).store().await;
    let encrypted = server.run_sql(
        "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'portcullis'",
    );
    assert_eq!(encrypted, "t");
    store.close().await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (server, _authority) = PrivatePostgres::start_with_tls();
    let error = TestDatabase::at(&format!("{}?sslmode=verify-full", server.database())).open_error().await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("sslrootcert")), "{error:?}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let (server, authority) = PrivatePostgres::start_with_tls();
    let elsewhere = server.database().replace("127.0.0.1", "localhost");
    let url = format!("{elsewhere}?sslmode=verify-full&sslrootcert={}", authority.display());
    let error = TestDatabase::at(&url).open_error().await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn required_tls_is_never_given_up_silently() {
    let without_tls = PrivatePostgres::shared();
    let error = TestDatabase::at(&format!("{}?sslmode=require", without_tls.database())).open_error().await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("only-for-tests"));
}

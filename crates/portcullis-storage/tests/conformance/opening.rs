//! What a person reads when a database does not open.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use portcullis_storage::{DatabaseUrl, OpenError};
use portcullis_testkit::PrivatePostgres;

use crate::bed::Bed;

fn bed_at(path: &Path) -> Bed {
    Bed::at(DatabaseUrl::sqlite(path))
}

#[tokio::test]
async fn a_folder_that_is_missing_or_cannot_be_written_is_named_with_a_hint() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("writes");
    // No user, not even root, makes files in /proc.
    for path in [folder.path().join("missing/p.db"), file.join("p.db"), "/proc/p.db".into(), folder.path().into()] {
        let refusal = bed_at(&path).refusal().await;
        assert!(matches!(refusal, OpenError::File { .. }), "{refusal:?}");
        assert!(refusal.to_string().contains(&path.display().to_string()), "{refusal}");
        assert!(!refusal.to_string().contains('\n'), "{refusal}");
        assert!(refusal.hint().is_some_and(|hint| hint.contains("writable")));
    }
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    let text = "Remember the milk. ".repeat(100);
    std::fs::write(&path, &text).expect("writes");
    let refusal = bed_at(&path).refusal().await;
    assert!(matches!(refusal, OpenError::NotADatabase { .. }), "{refusal:?}");
    assert_eq!(std::fs::read_to_string(&path).expect("reads"), text);
}

#[tokio::test]
async fn only_its_owner_reads_a_new_database() {
    let bed = Bed::sqlite();
    let store = bed.store().await;
    bed.someone(&store, "ada").await;
    let DatabaseUrl::Sqlite { path } = &bed.url else { unreachable!("the bed is SQLite") };
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", path.display());
        let mode = std::fs::metadata(&file).expect("exists").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} is open to others");
    }
}

#[tokio::test]
async fn opening_a_migrated_file_takes_few_milliseconds() {
    let bed = Bed::sqlite();
    bed.store().await.close().await;
    let mut fastest = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        let store = bed.store().await;
        fastest = fastest.min(begun.elapsed().as_secs_f64());
        store.close().await;
    }
    assert!(fastest < 0.02, "the fastest of five openings took {fastest} s");
}

#[tokio::test]
async fn sqlite_is_set_up_to_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let bed = bed_at(&folder.path().join("p.db"));
    let store = bed.store().await;
    let settings = store.durability().await.expect("reads");
    // 2 is FULL (https://sqlite.org/pragma.html#pragma_synchronous).
    assert_eq!(
        settings,
        [("journal_mode", "wal".to_owned()), ("synchronous", "2".to_owned()), ("foreign_keys", "1".to_owned())]
    );
}

#[tokio::test]
async fn a_postgresql_that_refuses_is_described_without_its_password() {
    let server = PrivatePostgres::shared();
    let good = server.database();
    let bed = |url: &str| Bed::at(DatabaseUrl::parse(url).expect("an address"));
    let wrong = bed(&good.replace("only-for-tests", "hunter2")).refusal().await;
    assert!(matches!(wrong, OpenError::Refused { .. }), "{wrong:?}");
    let missing = bed(&server.url("no_such_database")).refusal().await;
    assert!(matches!(missing, OpenError::MissingDatabase { .. }), "{missing:?}");
    assert!(missing.hint().is_some_and(|hint| hint.contains("createdb no_such_database")));
    for refusal in [wrong, missing] {
        let said = format!("{refusal} {refusal:?} {:?}", refusal.hint());
        assert!(!said.contains("hunter2") && !said.contains("only-for-tests"), "{said}");
    }
}

#[tokio::test]
async fn a_postgresql_that_does_not_answer_is_named() {
    let port = portcullis_testkit::free_port();
    let url = format!("postgres://ada:hunter2@127.0.0.1:{port}/gate");
    let bed = Bed::at(DatabaseUrl::parse(&url).expect("an address"));
    let (mut options, _) = bed.options();
    options.acquire_timeout = std::time::Duration::from_millis(300);
    let refusal = portcullis_storage::Store::open(options).await.err().expect("nobody listens");
    assert!(matches!(refusal, OpenError::Unreachable { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains(&format!("127.0.0.1:{port}/gate")), "{refusal}");
}

#[tokio::test]
async fn tls_to_postgresql_is_used_checked_and_never_given_up_silently() {
    let (server, authority) = PrivatePostgres::start_with_tls();
    let good = server.database();
    let authority = authority.display();
    let bed = |options: &str| Bed::at(DatabaseUrl::parse(&format!("{good}?{options}")).expect("an address"));
    let checked = bed(&format!("sslmode=verify-full&sslrootcert={authority}"));
    let store = checked.store().await;
    let encrypted = server.run_sql("SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity USING (pid) WHERE application_name = 'portcullis'");
    assert_eq!(encrypted, "t");
    store.close().await;
    // Without the authority's file nobody vouches for the server.
    let refusal = bed("sslmode=verify-full").refusal().await;
    assert!(matches!(refusal, OpenError::Tls { .. }), "{refusal:?}");
    assert!(refusal.hint().is_some_and(|hint| hint.contains("sslrootcert")), "{refusal:?}");
    // Under another name than the certificate's it is somebody else.
    let elsewhere = good.replace("127.0.0.1", "localhost");
    let url = format!("{elsewhere}?sslmode=verify-full&sslrootcert={authority}");
    let refusal = Bed::at(DatabaseUrl::parse(&url).expect("an address")).refusal().await;
    assert!(matches!(refusal, OpenError::Tls { .. }), "{refusal:?}");
    // A server that cannot encrypt is refused when encryption is asked for.
    let plain = PrivatePostgres::shared();
    let url = format!("{}?sslmode=require", plain.database());
    let refusal = Bed::at(DatabaseUrl::parse(&url).expect("an address")).refusal().await;
    assert!(matches!(refusal, OpenError::Tls { .. }), "{refusal:?}");
    assert!(!format!("{refusal} {refusal:?}").contains("only-for-tests"));
}

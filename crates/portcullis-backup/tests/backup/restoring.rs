//! A backup is restored whole or not at all, into either engine, and brings back nothing that could sign anybody in.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_backup::{ArchiveError, BackupError, Manifest, RestoreOptions, RestoreProgress, Trust, restore};
use portcullis_storage::Store;
use portcullis_testkit::{PrivateDatabase, RawConnection, on_both_engines};

use crate::installation::{Installation, KEY, keys, options_for};

/// Whose time is over before the year 2000, so that it does not matter to a test.
const PAST: &str = "'1999-01-01T00:00:00+00:00'";

struct Quiet;

impl RestoreProgress for Quiet {
    fn table(&mut self, _name: &'static str, _rows: u64) {}
    fn inserted(&mut self, _rows: u64) {}
    fn finishing(&mut self) {}
}

/// Adds a user with a session, a mailed link, a waiting mail and an API key.
async fn add_user(raw: &mut RawConnection) {
    let id = raw.id(uuid::Uuid::from_u128(1));
    let new = raw.new_id();
    let hash = |byte: &str| match raw {
        RawConnection::Sqlite(_) => format!("X'{}'", byte.repeat(32)),
        RawConnection::Postgres(_) => format!("'\\x{}'", byte.repeat(32)),
    };
    let (refresh, link, key) = (hash("0a"), hash("0b"), hash("0c"));
    raw.run(&format!(
        "INSERT INTO users (id, email, username, first_name, last_name, role, is_active, created_at, updated_at, epoch, token_epoch) \
         VALUES ({id}, 'ada@example.com', 'ada', 'Ada', 'L', 'ADMIN', TRUE, {PAST}, {PAST}, 7, 3); \
         INSERT INTO sessions (id, user_id, refresh_hash, created_at, last_seen_at, idle_expires_at, absolute_expires_at, remember, \
         transport, amr, authenticated_at, epoch) \
         VALUES ({new}, {id}, {refresh}, {PAST}, {PAST}, {PAST}, {PAST}, TRUE, 'cookie', '[]', {PAST}, 4); \
         INSERT INTO one_time_tokens (hash, purpose, user_id, created_at, expires_at) VALUES ({link}, 'reset', {id}, {PAST}, {PAST}); \
         INSERT INTO mail_outbox (id, template, user_id, created_at, attempts, next_attempt_at) \
         VALUES ({new}, 'reset', {id}, {PAST}, 0, {PAST}); \
         INSERT INTO api_keys (id, user_id, name, prefix, hash, created_at, epoch) VALUES ({new}, {id}, 'k', 'p', {key}, {PAST}, 2); \
         INSERT INTO revocations (at, user_id, epoch, ends) VALUES ({PAST}, {id}, 6, FALSE)"
    ))
    .await;
}

/// Makes a backup of a filled database, and returns the path of its file.
async fn backup_of(installation: &Installation) -> (PathBuf, Manifest) {
    installation.fill().await;
    add_user(&mut installation.database.connect().await).await;
    let made = installation.create().await;
    (installation.path().join(made.name.to_string()), made.manifest)
}

async fn restore_into(
    database: &PrivateDatabase,
    file: &Path,
    change: impl FnOnce(&mut RestoreOptions<'_>),
) -> Result<Manifest, BackupError> {
    let (target, keys) = (options_for(database.url()), keys(KEY));
    let mut options = RestoreOptions {
        file,
        target: &target,
        trust: Trust::Keys(&keys),
        identities: &[],
        keep_sessions: false,
        end_keys: false,
    };
    change(&mut options);
    restore(options, &mut Quiet).await
}

/// An empty database of the other engine.
fn other_engine(installation: &Installation) -> PrivateDatabase {
    match installation.database.url().starts_with("sqlite") {
        true => PrivateDatabase::postgres(),
        false => PrivateDatabase::sqlite(),
    }
}

async fn a_backup_is_restored_into_the_other_engine(installation: Installation) {
    let (file, made) = backup_of(&installation).await;
    let database = other_engine(&installation);
    restore_into(&database, &file, |_| ()).await.expect("restores");
    let mut raw = database.connect().await;
    for table in &made.tables {
        let added = match table.name.as_str() {
            // The event of the restore, and the new generation.
            "audit_log" | "instance" => 1,
            _ => 0,
        };
        let rows = raw.number(&format!("SELECT count(*) FROM {}", table.name)).await;
        assert_eq!(rows, i64::try_from(table.rows).expect("few") + added, "{}", table.name);
    }
    Store::open(options_for(database.url())).await.expect("a gateway can use it").close().await;
    // What aftercare does not touch is the same in a backup of the other engine.
    let restored = Installation { database, recipients: Vec::new() };
    fs::create_dir(restored.path()).expect("writable");
    let again = restored.create().await.manifest;
    let checksum = |manifest: &Manifest, name: &str| {
        manifest.tables.iter().find(|table| table.name == name).expect("it is there").checksum.clone()
    };
    assert_eq!(checksum(&again, "revocations"), checksum(&made, "revocations"));
    assert!(again.generation.is_some() && made.generation.is_none());
}

async fn sr_66_a_restore_ends_sessions_links_and_mails(installation: Installation) {
    let (file, _) = backup_of(&installation).await;
    let database = PrivateDatabase::sqlite();
    restore_into(&database, &file, |_| ()).await.expect("restores");
    let mut raw = database.connect().await;
    for (what, query) in [
        ("sessions", "SELECT count(*) FROM sessions WHERE ended_at IS NULL"),
        ("links", "SELECT count(*) FROM one_time_tokens WHERE used_at IS NULL"),
        ("mails", "SELECT count(*) FROM mail_outbox WHERE given_up_at IS NULL"),
        ("access tokens", "SELECT count(*) FROM users WHERE token_epoch <> epoch"),
        ("epochs", "SELECT count(*) FROM users WHERE epoch < 1000000"),
        ("epochs of keys", "SELECT count(*) FROM api_keys WHERE epoch < 1000000"),
        ("numbers of the log", "SELECT count(*) FROM sqlite_sequence WHERE name = 'revocations' AND seq < 1000000"),
        ("keys that end", "SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL"),
    ] {
        assert_eq!(raw.number(query).await, 0, "{what}");
    }
    let kept = PrivateDatabase::postgres();
    let keep = |options: &mut RestoreOptions<'_>| (options.keep_sessions, options.end_keys) = (true, true);
    restore_into(&kept, &file, keep).await.expect("restores");
    let mut raw = kept.connect().await;
    for (what, query, count) in [
        ("sessions", "SELECT count(*) FROM sessions WHERE ended_at IS NULL", 1),
        ("links", "SELECT count(*) FROM one_time_tokens WHERE used_at IS NULL", 1),
        ("access tokens", "SELECT count(*) FROM users WHERE token_epoch = 3", 1),
        ("mails", "SELECT count(*) FROM mail_outbox WHERE given_up_at IS NULL", 0),
        ("keys", "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL", 0),
        ("the next number", "SELECT count(*) WHERE nextval(pg_get_serial_sequence('revocations', 'seq')) < 1000000", 0),
    ] {
        assert_eq!(raw.number(query).await, count, "{what}");
    }
}

async fn a_damaged_backup_restores_nothing(installation: Installation) {
    let (file, _) = backup_of(&installation).await;
    let mut bytes = fs::read(&file).expect("readable");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).expect("writable");
    let database = other_engine(&installation);
    let error = restore_into(&database, &file, |_| ()).await.expect_err("its last block was changed");
    assert!(matches!(error, BackupError::File { source: ArchiveError::Altered { .. }, .. }), "{error:?}");
    let mut raw = database.connect().await;
    for table in ["users", "instance", "audit_log"] {
        assert_eq!(raw.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
}

async fn a_database_that_holds_rows_is_not_restored_into(installation: Installation) {
    let (file, _) = backup_of(&installation).await;
    let error = restore_into(&installation.database, &file, |_| ()).await.expect_err("it is full");
    assert!(error.hint().is_some_and(|hint| hint.starts_with("restore into an empty database")), "{error:?}");
    let users = installation.database.connect().await.number("SELECT count(*) FROM users WHERE epoch = 7").await;
    assert_eq!(users, 1, "it is as it was");
}

on_both_engines!(
    a_backup_is_restored_into_the_other_engine,
    a_damaged_backup_restores_nothing,
    a_database_that_holds_rows_is_not_restored_into,
    sr_66_a_restore_ends_sessions_links_and_mails,
);

/// An archive that version 0.1.0 made on SQLite under `KEY`, with one user. Every later version must read it.
const OF_FORMAT_1: &str = "portcullis-20261128T041245Z-90e483ff8be4639c.backup";

#[tokio::test]
async fn the_first_format_is_still_restored() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let database = PrivateDatabase::sqlite();
    restore_into(&database, &folder.join(OF_FORMAT_1), |_| ()).await.expect("restores");
    let emails = database.connect().await.texts("SELECT email FROM users").await;
    assert_eq!(emails, ["ada@example.com"]);
}

//! On both engines, with steps of the test's own.

use portcullis_model::Random;
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::PrivatePostgres;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;

const ONE: Migration = Migration {
    version: 1,
    name: "one",
    up: "CREATE TABLE things (id {bigint} NOT NULL PRIMARY KEY){strict}; INSERT INTO things VALUES (7);",
    down: "DROP TABLE things;",
    runs_since: 1,
};
/// Programs of schema 1 run on it.
const TWO: Migration = Migration {
    version: 2,
    name: "two",
    up: "ALTER TABLE things ADD COLUMN name {text}; CREATE TABLE more (id {bigint} NOT NULL PRIMARY KEY){strict};",
    down: "DROP TABLE more; ALTER TABLE things DROP COLUMN name;",
    runs_since: 1,
};
/// They do not run on this one.
const THREE: Migration = Migration {
    version: 3,
    name: "three",
    up: "DROP TABLE more;",
    down: "CREATE TABLE more (id {bigint});",
    runs_since: 3,
};
const BROKEN: Migration = Migration {
    version: 2,
    name: "broken",
    up: "CREATE TABLE half (id {bigint} NOT NULL PRIMARY KEY){strict}; INSERT INTO nowhere VALUES (1);",
    down: "",
    runs_since: 2,
};
static FIRST: &[Migration] = &[ONE];
static BOTH: &[Migration] = &[ONE, TWO];
static ALL: &[Migration] = &[ONE, TWO, THREE];
static HALF: &[Migration] = &[ONE, BROKEN];

/// A database that a test looks after.
struct Bed {
    url: DatabaseUrl,
    folder: TempDir,
    _server: Option<PrivatePostgres>,
}

impl Bed {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { url: DatabaseUrl::sqlite(folder.path().join("test.db")), folder, _server: None }
    }

    fn postgres() -> Self {
        let server = PrivatePostgres::shared();
        let url = DatabaseUrl::parse(&server.database()).expect("an address");
        Self { url, folder: tempfile::tempdir().expect("a folder"), _server: Some(server) }
    }

    fn options(&self) -> StoreOptions {
        StoreOptions {
            url: self.url.clone(),
            pool_min: 0,
            pool_max: 2,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            migrate: MigrateMode::Auto,
            migrate_wait: Duration::from_secs(20),
            app_version: "1.2.3".to_owned(),
            notify: false,
            clock: Clock::system(),
            random: Random::system(),
            metrics: Metrics::new(&MetricsOptions::default(), "test"),
        }
    }

    async fn migrator(&self, steps: &'static [Migration]) -> Migrator {
        Migrator::connect_with(&self.options(), steps).await.expect("connects")
    }

    async fn up(&self, steps: &'static [Migration]) -> Option<PathBuf> {
        self.migrator(steps).await.up(|_| ()).await.expect("migrates")
    }

    async fn has_table(&self, name: &str) -> bool {
        let mut migrator = self.migrator(FIRST).await;
        migrator.connection.script(&format!("SELECT 1 FROM {name}")).await.is_ok()
    }

    fn snapshots(&self) -> usize {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder is there").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".bak")).count()
    }
}

async fn steps_are_taken_in_order_and_noted_with_who_took_them(bed: Bed) {
    let mut migrator = bed.migrator(BOTH).await;
    let before = migrator.status().await.expect("reads");
    assert_eq!((before.found, before.known, before.pending.len(), before.serves), (0, 2, 2, false));
    assert!(!before.pending[0].sql.contains('{'), "{}", before.pending[0].sql);
    let mut taken = Vec::new();
    migrator.up(|step| taken.push((step.version, step.name))).await.expect("migrates");
    assert_eq!(taken, [(1, "one"), (2, "two")]);
    let after = migrator.status().await.expect("reads");
    assert_eq!((after.found, after.pending.len(), after.serves), (2, 0, true));
    assert!(after.applied.iter().all(|step| step.by.as_deref() == Some("1.2.3")));
    migrator.up(|_| panic!("there is no step left")).await.expect("has nothing to do");
}

async fn looking_changes_nothing(bed: Bed) {
    bed.migrator(BOTH).await.status().await.expect("reads");
    assert!(!bed.has_table("schema_migrations").await && !bed.has_table("things").await);
}

async fn a_step_that_fails_leaves_the_schema_as_it_was(bed: Bed) {
    bed.up(FIRST).await;
    let mut migrator = bed.migrator(HALF).await;
    let error = migrator.up(|_| ()).await.expect_err("the second statement has no table");
    assert!(matches!(error, OpenError::Migration { version: 2, name: "broken", .. }), "{error:?}");
    assert_eq!(migrator.status().await.expect("reads").found, 1);
    assert!(!bed.has_table("half").await);
    bed.up(BOTH).await;
}

async fn steps_are_taken_back_to_where_one_wants(bed: Bed) {
    bed.up(BOTH).await;
    let mut migrator = bed.migrator(BOTH).await;
    let mut taken = Vec::new();
    migrator.down(1, |step| taken.push(step.version)).await.expect("goes back");
    assert_eq!(taken, [2]);
    assert!(bed.has_table("things").await && !bed.has_table("more").await);
    migrator.down(0, |_| ()).await.expect("goes back");
    assert!(!bed.has_table("things").await);
    assert_eq!(migrator.status().await.expect("reads").found, 0);
    migrator.up(|_| ()).await.expect("and forth again");
}

async fn a_program_runs_on_the_next_schema_when_that_one_says_so_and_is_refused_otherwise(bed: Bed) {
    bed.up(FIRST).await;
    bed.up(BOTH).await;
    let mut older = bed.migrator(FIRST).await;
    assert!(older.status().await.expect("reads").serves);
    older.prepare(MigrateMode::Auto).await.expect("runs on it");
    bed.up(ALL).await;
    assert!(!older.status().await.expect("reads").serves);
    let refused = older.prepare(MigrateMode::Auto).await.expect_err("it needs a table that is gone");
    assert!(matches!(refused, OpenError::NewerSchema { found: 3, known: 1, .. }), "{refused:?}");
    assert!(refused.to_string().contains("1.2.3"), "{refused}");
    let hint = refused.hint().expect("there is a way back");
    match bed.url {
        DatabaseUrl::Sqlite { .. } => assert!(hint.contains(".before-0002-"), "{hint}"),
        DatabaseUrl::Postgres { .. } => assert!(hint.contains("migrate down --to 1"), "{hint}"),
    }
    let refused = older.down(0, |_| ()).await.expect_err("it does not know the way down");
    assert!(matches!(refused, OpenError::NewerSchema { .. }), "{refused:?}");
}

async fn a_server_that_must_not_migrate_says_so(bed: Bed) {
    bed.up(FIRST).await;
    let mut migrator = bed.migrator(BOTH).await;
    let refused = migrator.prepare(MigrateMode::Off).await.expect_err("the schema is old");
    assert!(matches!(refused, OpenError::OldSchema { found: 1, known: 2 }), "{refused:?}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("portcullis migrate up")));
    assert_eq!(migrator.status().await.expect("reads").found, 1);
}

async fn of_many_who_migrate_at_once_each_step_is_taken_once(bed: Bed) {
    let mut racing = JoinSet::new();
    for _ in 0..6 {
        let mut migrator = bed.migrator(ALL).await;
        racing.spawn(async move {
            let mut taken = 0;
            migrator.up(|_| taken += 1).await.expect("migrates or waits");
            taken
        });
    }
    assert_eq!(racing.join_all().await.into_iter().sum::<usize>(), 3);
}

async fn a_ledger_of_the_first_form_is_read_and_widened(bed: Bed) {
    bed.up(FIRST).await;
    let mut migrator = bed.migrator(BOTH).await;
    for column in ["applied_by", "runs_since"] {
        migrator
            .connection
            .script(&format!("ALTER TABLE schema_migrations DROP COLUMN {column}"))
            .await
            .expect("drops");
    }
    let status = migrator.status().await.expect("reads");
    assert_eq!((status.found, status.applied[0].by.as_deref(), status.applied[0].runs_since), (1, None, 1));
    migrator.up(|_| ()).await.expect("migrates");
    assert_eq!(migrator.status().await.expect("reads").applied[1].by.as_deref(), Some("1.2.3"));
}

async fn who_waits_too_long_is_told_whom_it_waited_for(bed: Bed) {
    let mut holder = bed.migrator(BOTH).await;
    let held = lock::acquire(&holder.runner, &mut holder.connection, &bed.url, Duration::ZERO).await;
    let held = held.expect("nobody holds it");
    let mut other = bed.migrator(BOTH).await;
    other.wait = Duration::from_millis(300);
    let refused = other.up(|_| ()).await.expect_err("it is held");
    assert!(matches!(refused, OpenError::MigrationLocked { .. }), "{refused:?}");
    let whom = match bed.url {
        DatabaseUrl::Sqlite { .. } => "(on this machine)",
        DatabaseUrl::Postgres { .. } => "portcullis at 127.0.0.1",
    };
    assert!(refused.to_string().contains(whom), "{refused}");
    // It ends with its connection or process, however that ends.
    drop((holder, held));
    other.wait = Duration::from_secs(20);
    other.up(|_| ()).await.expect("it is free");
}

macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Bed::sqlite()).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Bed::postgres()).await;
            })*
        }
    };
}

on_both_engines!(
    steps_are_taken_in_order_and_noted_with_who_took_them,
    looking_changes_nothing,
    a_step_that_fails_leaves_the_schema_as_it_was,
    steps_are_taken_back_to_where_one_wants,
    a_program_runs_on_the_next_schema_when_that_one_says_so_and_is_refused_otherwise,
    a_server_that_must_not_migrate_says_so,
    of_many_who_migrate_at_once_each_step_is_taken_once,
    a_ledger_of_the_first_form_is_read_and_widened,
    who_waits_too_long_is_told_whom_it_waited_for,
);

#[tokio::test]
async fn sqlite_is_copied_before_its_schema_changes_and_three_copies_are_kept() {
    let bed = Bed::sqlite();
    assert!(bed.up(FIRST).await.is_none(), "there was nothing to copy");
    let copy = bed.up(BOTH).await.expect("a copy is made");
    assert!(copy.to_string_lossy().contains("test.db.before-0002-"), "{}", copy.display());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).expect("is there").permissions());
    assert_eq!(mode & 0o077, 0, "it holds password hashes");
    // The copy is the database as it was.
    let opened = Bed { url: DatabaseUrl::sqlite(&copy), folder: tempfile::tempdir().expect("a folder"), _server: None };
    assert_eq!(opened.migrator(BOTH).await.status().await.expect("reads").found, 1);
    for _ in 0..4 {
        bed.migrator(BOTH).await.down(1, |_| ()).await.expect("goes back");
        bed.up(BOTH).await;
    }
    assert_eq!(bed.snapshots(), 3);
}

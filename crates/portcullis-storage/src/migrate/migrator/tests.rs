//! Migrations of the tests' own, on both engines.

use std::collections::BTreeSet;

use portcullis_model::Random;
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::{PrivateDatabase, PrivatePostgres};
use tokio::task::JoinSet;

use super::*;
use crate::migrate::schema;

mod rolling;

const ONE: Migration = Migration {
    version: 1,
    name: "one",
    up: "CREATE TABLE things (id {bigint} NOT NULL PRIMARY KEY){strict}; INSERT INTO things VALUES (7);",
    down: "DROP TABLE things;",
    runs_since: 1,
};
/// Programs of schema 1 run on this schema.
const TWO: Migration = Migration {
    version: 2,
    name: "two",
    up: "ALTER TABLE things ADD COLUMN name {text}; CREATE TABLE more (id {bigint} NOT NULL PRIMARY KEY){strict};",
    down: "DROP TABLE more; ALTER TABLE things DROP COLUMN name;",
    runs_since: 1,
};
/// Programs of schema 1 and 2 do not run on this schema.
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
const INDEXES: Migration = Migration {
    version: 2,
    name: "indexes",
    up: "-- Two indexes.\nCREATE UNIQUE INDEX {concurrently} things_one ON things (id);\n\
         CREATE INDEX {concurrently} things_two ON things (id) WHERE id > 0;",
    down: "DROP INDEX {concurrently} things_one; DROP INDEX {concurrently} things_two;",
    runs_since: 1,
};
static WITH_INDEXES: &[Migration] = &[ONE, INDEXES];
static UP_TO_ONE: &[Migration] = &[ONE];
static UP_TO_TWO: &[Migration] = &[ONE, TWO];
static UP_TO_THREE: &[Migration] = &[ONE, TWO, THREE];
static WITH_BROKEN: &[Migration] = &[ONE, BROKEN];

/// A database for one test.
struct TestDatabase {
    url: DatabaseUrl,
    database: PrivateDatabase,
}

impl From<PrivateDatabase> for TestDatabase {
    fn from(database: PrivateDatabase) -> Self {
        Self { url: DatabaseUrl::parse(database.url()).expect("the test kit gives an address"), database }
    }
}

impl TestDatabase {
    fn sqlite() -> Self {
        PrivateDatabase::sqlite().into()
    }

    fn postgres() -> Self {
        PrivateDatabase::postgres().into()
    }

    fn options(&self) -> StoreOptions {
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let defaults = StoreOptions::new(self.url.clone(), Clock::system(), Random::system(), metrics);
        let (acquire_timeout, migrate_wait) = (Duration::from_secs(5), Duration::from_secs(20));
        StoreOptions { acquire_timeout, migrate_wait, app_version: "1.2.3".to_owned(), ..defaults }
    }

    async fn migrator(&self, steps: &'static [Migration]) -> Migrator {
        Migrator::connect_with(&self.options(), steps).await.expect("connects")
    }

    async fn up(&self, steps: &'static [Migration]) -> Option<PathBuf> {
        self.migrator(steps).await.up(|_| ()).await.expect("migrates")
    }

    async fn has_table(&self, name: &str) -> bool {
        let mut migrator = self.migrator(UP_TO_ONE).await;
        migrator.connection.script(&format!("SELECT 1 FROM {name}")).await.is_ok()
    }

    fn snapshots(&self) -> usize {
        let entries = std::fs::read_dir(self.database.folder()).expect("the folder is there").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".bak")).count()
    }
}

async fn migrations_are_applied_in_order_and_recorded(db: TestDatabase) {
    let mut migrator = db.migrator(UP_TO_TWO).await;
    let before = migrator.status().await.expect("reads");
    assert_eq!((before.found, before.known, before.pending.len(), before.serves), (0, 2, 2, false));
    assert!(!before.pending[0].sql.contains('{'), "{}", before.pending[0].sql);
    let mut done = Vec::new();
    migrator.up(|step| done.push((step.version, step.name))).await.expect("migrates");
    assert_eq!(done, [(1, "one"), (2, "two")]);
    let after = migrator.status().await.expect("reads");
    assert_eq!((after.found, after.pending.len(), after.serves), (2, 0, true));
    assert!(after.applied.iter().all(|step| step.by.as_deref() == Some("1.2.3")));
    migrator.up(|_| panic!("no migration is pending")).await.expect("there is nothing to do");
}

async fn reading_the_status_changes_nothing(db: TestDatabase) {
    db.migrator(UP_TO_TWO).await.status().await.expect("reads");
    assert!(!db.has_table("schema_migrations").await && !db.has_table("things").await);
}

async fn a_failed_migration_leaves_the_schema_unchanged(db: TestDatabase) {
    db.up(UP_TO_ONE).await;
    let mut migrator = db.migrator(WITH_BROKEN).await;
    let error = migrator.up(|_| ()).await.expect_err("the second statement has no table");
    assert!(matches!(error, OpenError::Migration { version: 2, name: "broken", .. }), "{error:?}");
    assert_eq!(migrator.status().await.expect("reads").found, 1);
    assert!(!db.has_table("half").await);
    db.up(UP_TO_TWO).await;
}

async fn migrations_are_reverted_down_to_a_schema(db: TestDatabase) {
    db.up(UP_TO_TWO).await;
    let mut migrator = db.migrator(UP_TO_TWO).await;
    let mut done = Vec::new();
    migrator.down(1, |step| done.push(step.version)).await.expect("reverts");
    assert_eq!(done, [2]);
    assert!(db.has_table("things").await && !db.has_table("more").await);
    migrator.down(0, |_| ()).await.expect("reverts");
    assert!(!db.has_table("things").await);
    assert_eq!(migrator.status().await.expect("reads").found, 0);
    migrator.up(|_| ()).await.expect("applies again");
}

async fn a_program_runs_on_the_next_schema_if_that_allows_it(db: TestDatabase) {
    db.up(UP_TO_TWO).await;
    let mut older = db.migrator(UP_TO_ONE).await;
    assert!(older.status().await.expect("reads").serves);
    older.prepare(MigrateMode::Auto).await.expect("runs on it");
}

async fn a_program_refuses_a_schema_that_excludes_it(db: TestDatabase) {
    db.up(UP_TO_ONE).await;
    db.up(UP_TO_THREE).await;
    let mut older = db.migrator(UP_TO_ONE).await;
    assert!(!older.status().await.expect("reads").serves);
    let refused = older.prepare(MigrateMode::Auto).await.expect_err("it needs a table that was dropped");
    assert!(matches!(refused, OpenError::NewerSchema { found: 3, known: 1, .. }), "{refused:?}");
    assert!(refused.to_string().contains("1.2.3"), "{refused}");
    let hint = refused.hint().expect("there is a way back");
    match db.url {
        DatabaseUrl::Sqlite { .. } => assert!(hint.contains(".before-0002-"), "{hint}"),
        DatabaseUrl::Postgres { .. } => assert!(hint.contains("migrate down --to 1"), "{hint}"),
    }
    let refused = older.down(0, |_| ()).await.expect_err("it does not know the newer migrations");
    assert!(matches!(refused, OpenError::NewerSchema { .. }), "{refused:?}");
}

async fn a_server_with_migrate_off_refuses_an_old_schema(db: TestDatabase) {
    db.up(UP_TO_ONE).await;
    let mut migrator = db.migrator(UP_TO_TWO).await;
    let refused = migrator.prepare(MigrateMode::Off).await.expect_err("the schema is old");
    assert!(matches!(refused, OpenError::OldSchema { found: 1, known: 2, is_off: true }), "{refused:?}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("portcullis migrate up")));
    assert_eq!(migrator.status().await.expect("reads").found, 1);
}

async fn concurrent_processes_apply_each_migration_once(db: TestDatabase) {
    let mut racing = JoinSet::new();
    for _ in 0..6 {
        let mut migrator = db.migrator(UP_TO_THREE).await;
        racing.spawn(async move {
            let mut taken = 0;
            migrator.up(|_| taken += 1).await.expect("migrates or waits");
            taken
        });
    }
    assert_eq!(racing.join_all().await.into_iter().sum::<usize>(), 3);
}

async fn a_ledger_of_the_first_form_is_read_and_extended(db: TestDatabase) {
    db.up(UP_TO_ONE).await;
    let mut migrator = db.migrator(UP_TO_TWO).await;
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

async fn a_process_that_waits_too_long_names_the_other(db: TestDatabase) {
    let mut holder = db.migrator(UP_TO_TWO).await;
    let held = lock::acquire(&holder.runner, &mut holder.connection, &db.url, Duration::ZERO).await;
    let held = held.expect("the lock is free");
    let mut other = db.migrator(UP_TO_TWO).await;
    other.wait = Duration::from_millis(300);
    let refused = other.up(|_| ()).await.expect_err("the lock is held");
    assert!(matches!(refused, OpenError::MigrationLocked { .. }), "{refused:?}");
    let named = match db.url {
        DatabaseUrl::Sqlite { .. } => "(on this machine)",
        DatabaseUrl::Postgres { .. } => "portcullis at 127.0.0.1",
    };
    assert!(refused.to_string().contains(named), "{refused}");
    // The lock ends with its connection or process, however that ends.
    drop((holder, held));
    other.wait = Duration::from_secs(20);
    other.up(|_| ()).await.expect("the lock is free");
}

async fn the_declared_columns_are_those_of_the_database(db: TestDatabase) {
    db.up(MIGRATIONS).await;
    let text = match db.url {
        DatabaseUrl::Sqlite { .. } => {
            "SELECT m.name AS tab, c.name AS col FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'"
        }
        DatabaseUrl::Postgres { .. } => {
            "SELECT CAST(table_name AS TEXT) AS tab, CAST(column_name AS TEXT) AS col \
             FROM information_schema.columns WHERE table_schema = current_schema()"
        }
    };
    let mut migrator = db.migrator(MIGRATIONS).await;
    let rows = migrator.connection.all(text.into(), vec![]).await.expect("reads");
    let stored = rows.iter().map(|row| (row.get("tab").expect("a table"), row.get("col").expect("a column")));
    let stored: BTreeSet<(String, String)> =
        stored.filter(|(table, _): &(String, String)| table != "schema_migrations").collect();
    let declared = schema::tables(MIGRATIONS).into_iter().flat_map(|table| {
        let columns = table.columns.into_iter().map(|column| column.name).chain(table.assigned);
        columns.map(move |column| (table.name.to_owned(), column.to_owned())).collect::<Vec<_>>()
    });
    assert_eq!(stored, declared.collect());
}

async fn indexes_are_built_and_dropped(db: TestDatabase) {
    let mut migrator = db.migrator(WITH_INDEXES).await;
    let pending = migrator.status().await.expect("reads").pending;
    assert_eq!(pending[1].concurrent, matches!(db.url, DatabaseUrl::Postgres { .. }));
    assert!(!pending[1].sql.contains('{'), "{}", pending[1].sql);
    migrator.up(|_| ()).await.expect("migrates");
    assert_eq!(migrator.status().await.expect("reads").found, 2);
    migrator.connection.script("INSERT INTO things VALUES (7)").await.expect_err("the index is unique");
    migrator.down(1, |_| ()).await.expect("reverts");
    migrator.up(|_| ()).await.expect("applies again");
}

/// Returns each index of the table, and whether it is valid.
async fn indexes_of_things(migrator: &mut Migrator) -> Vec<(String, bool)> {
    let text = "SELECT CAST(c.relname AS TEXT) AS name, i.indisvalid AS valid FROM pg_index i \
                JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = CAST('things' AS REGCLASS) \
                AND NOT i.indisprimary ORDER BY 1";
    let rows = migrator.connection.all(text.into(), vec![]).await.expect("reads");
    rows.iter().map(|row| (row.get("name").expect("a name"), row.get("valid").expect("a boolean"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_blocks_no_write_while_it_is_built() {
    let db = TestDatabase::postgres();
    db.up(UP_TO_ONE).await;
    let mut writer = db.migrator(UP_TO_ONE).await;
    writer.connection.script("BEGIN; INSERT INTO things VALUES (8)").await.expect("writes");
    let mut migrator = db.migrator(WITH_INDEXES).await;
    let building = tokio::spawn(async move { migrator.up(|_| ()).await.map(|_| ()) });
    // The index waits for the open transaction. Meanwhile another one writes.
    let mut other = db.migrator(UP_TO_ONE).await;
    let waits = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock' AND query LIKE 'CREATE UNIQUE INDEX CONCURRENTLY%'";
    loop {
        let rows = other.connection.all(waits.into(), vec![]).await.expect("reads");
        if rows[0].count("n").expect("a number") > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    other.connection.script("INSERT INTO things VALUES (9)").await.expect("no write waits");
    writer.connection.script("COMMIT").await.expect("commits");
    building.await.expect("no panic").expect("migrates");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_failed_is_built_again() {
    let db = TestDatabase::postgres();
    db.up(UP_TO_ONE).await;
    let mut migrator = db.migrator(WITH_INDEXES).await;
    // Two rows with one id make the unique index fail and stay invalid.
    migrator
        .connection
        .script("ALTER TABLE things DROP CONSTRAINT things_pkey; INSERT INTO things VALUES (7)")
        .await
        .expect("writes");
    let error = migrator.up(|_| ()).await.expect_err("the ids are not unique");
    assert!(matches!(error, OpenError::Migration { version: 2, .. }), "{error:?}");
    assert_eq!(migrator.status().await.expect("reads").found, 1);
    assert_eq!(indexes_of_things(&mut migrator).await, [("things_one".to_owned(), false)]);
    migrator.connection.script("DELETE FROM things").await.expect("writes");
    db.up(WITH_INDEXES).await;
    let built = indexes_of_things(&mut migrator).await;
    assert_eq!(built, [("things_one".to_owned(), true), ("things_two".to_owned(), true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_an_operator_made_is_kept() {
    let db = TestDatabase::postgres();
    db.up(UP_TO_ONE).await;
    let mut migrator = db.migrator(WITH_INDEXES).await;
    migrator.connection.script("CREATE INDEX things_two ON things (id) WHERE id > 0").await.expect("creates");
    migrator.up(|_| ()).await.expect("goes on");
    assert_eq!(indexes_of_things(&mut migrator).await.len(), 2);
}

portcullis_testkit::on_both_engines!(
    indexes_are_built_and_dropped,
    migrations_are_applied_in_order_and_recorded,
    reading_the_status_changes_nothing,
    a_failed_migration_leaves_the_schema_unchanged,
    migrations_are_reverted_down_to_a_schema,
    a_program_runs_on_the_next_schema_if_that_allows_it,
    a_program_refuses_a_schema_that_excludes_it,
    the_declared_columns_are_those_of_the_database,
    a_server_with_migrate_off_refuses_an_old_schema,
    concurrent_processes_apply_each_migration_once,
    a_ledger_of_the_first_form_is_read_and_extended,
    a_process_that_waits_too_long_names_the_other,
);

/// The role's limit would end a migration of a large table.
#[tokio::test]
async fn a_migration_ignores_the_statement_timeout_of_its_role() {
    let server = PrivatePostgres::shared();
    let role = format!("hurried_{}", std::process::id());
    server.run_sql(&format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'hunter2'"));
    server.run_sql(&format!("ALTER ROLE {role} SET statement_timeout = '7s'"));
    let address = server.database().replace("portcullis:only-for-tests@", &format!("{role}:hunter2@"));
    let db = TestDatabase::from(PrivateDatabase::at(address));
    let mut migrator = db.migrator(UP_TO_ONE).await;
    // The second value is the one with which the connection began.
    let sql = Sql::select("none", "SELECT setting, reset_val FROM pg_settings WHERE name = 'statement_timeout'");
    let limits = async |migrator: &mut Migrator| {
        let rows = migrator.runner.all(&mut migrator.connection, &sql, vec![]).await.expect("reads");
        let value = |name: &str| rows[0].read::<String>(name).expect("is text");
        (value("setting"), value("reset_val"))
    };
    let unlimited = ("0".to_owned(), "7000".to_owned());
    assert_eq!(limits(&mut migrator).await, unlimited);
    migrator.up(|_| ()).await.expect("migrates");
    assert_eq!(limits(&mut migrator).await, unlimited, "after the migration too");
    migrator.close().await;
    let database = db.database.url().rsplit('/').next().expect("a name").to_owned();
    server.run_sql_in(&database, &format!("DROP OWNED BY {role} CASCADE"));
    server.run_sql(&format!("DROP ROLE {role}"));
}

#[tokio::test]
async fn sqlite_is_copied_before_a_migration() {
    let db = TestDatabase::sqlite();
    assert!(db.up(UP_TO_ONE).await.is_none(), "there was nothing to copy");
    let copy = db.up(UP_TO_TWO).await.expect("a copy is made");
    assert!(copy.to_string_lossy().contains("portcullis.db.before-0002-"), "{}", copy.display());
    // The copy is the database as it was.
    let copied = TestDatabase::from(PrivateDatabase::at_file(&copy));
    assert_eq!(copied.migrator(UP_TO_TWO).await.status().await.expect("reads").found, 1);
}

#[tokio::test]
async fn a_copy_is_readable_only_by_its_owner() {
    let db = TestDatabase::sqlite();
    db.up(UP_TO_ONE).await;
    let copy = db.up(UP_TO_TWO).await.expect("a copy is made");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).expect("is there").permissions());
    assert_eq!(mode & 0o077, 0, "it holds password hashes");
}

#[tokio::test]
async fn the_newest_three_copies_are_kept() {
    let db = TestDatabase::sqlite();
    db.up(UP_TO_TWO).await;
    for _ in 0..3 {
        db.migrator(UP_TO_TWO).await.down(1, |_| ()).await.expect("reverts");
        db.up(UP_TO_TWO).await;
    }
    assert_eq!(db.snapshots(), 3);
}

//! What prevents a rolling upgrade or downgrade, on both engines.

use super::*;
use crate::migrate::migrator::RollingObstacle;

/// A step that programs of schema 2 can do with, and those of schema 1 cannot.
const LATE_DROP: Migration = Migration { version: 3, name: "late_drop", runs_since: 2, ..THREE };
static WITH_LATE_DROP: &[Migration] = &[ONE, TWO, LATE_DROP];

async fn obstacles(db: &TestDatabase, steps: &'static [Migration], mode: MigrateMode) -> Vec<RollingObstacle> {
    let mut migrator = db.migrator(steps).await;
    let status = migrator.status().await.expect("reads");
    let found = migrator.rolling_obstacles(&status, mode).await.expect("reads");
    migrator.close().await;
    found
}

async fn nothing_prevents_a_roll_over_steps_that_expand(db: TestDatabase) {
    assert!(obstacles(&db, UP_TO_THREE, MigrateMode::Auto).await.is_empty(), "there is nothing to roll over");
    db.up(UP_TO_ONE).await;
    assert!(obstacles(&db, UP_TO_TWO, MigrateMode::Auto).await.is_empty());
    db.up(UP_TO_TWO).await;
    assert!(obstacles(&db, UP_TO_TWO, MigrateMode::Auto).await.is_empty());
    assert!(obstacles(&db, UP_TO_ONE, MigrateMode::Auto).await.is_empty(), "the way back is open");
}

async fn a_contract_step_prevents_a_roll(db: TestDatabase) {
    db.up(UP_TO_ONE).await;
    let found = obstacles(&db, UP_TO_THREE, MigrateMode::Auto).await;
    let [RollingObstacle::ContractStep { version: 3, name: "three", found: 1, runs_since: 3 }] = &found[..] else {
        panic!("{found:?}")
    };
    assert!(found[0].hint().is_some_and(|hint| hint.starts_with("stop every server")), "{:?}", found[0].hint());

    let late = obstacles(&db, WITH_LATE_DROP, MigrateMode::Auto).await;
    assert_eq!(late.len(), 1, "{late:?}");
    let hint = late[0].hint().expect("there is a way");
    assert!(hint.contains("whose newest schema is 2 or later and below 3"), "{hint}");
    db.up(UP_TO_TWO).await;
    assert!(obstacles(&db, WITH_LATE_DROP, MigrateMode::Auto).await.is_empty());
}

async fn a_downgrade_over_a_contract_step_names_the_step(db: TestDatabase) {
    db.up(UP_TO_THREE).await;
    let found = obstacles(&db, UP_TO_ONE, MigrateMode::Auto).await;
    let [RollingObstacle::Open(newer @ OpenError::NewerSchema { found: 3, known: 1, .. })] = &found[..] else {
        panic!("{found:?}")
    };
    let text = newer.to_string();
    assert!(text.ends_with("the newer Portcullis 1.2.3 applied the contract step 0003 (three)"), "{text}");
}

async fn a_roll_waits_for_a_running_migration(db: TestDatabase) {
    db.up(UP_TO_ONE).await;
    assert!(obstacles(&db, UP_TO_TWO, MigrateMode::Auto).await.is_empty());
    let mut holder = db.migrator(UP_TO_TWO).await;
    let held = lock::acquire(&holder.runner, &mut holder.connection, &db.url, Duration::ZERO).await;
    let found = obstacles(&db, UP_TO_TWO, MigrateMode::Auto).await;
    assert!(matches!(&found[..], [RollingObstacle::Migrating { .. }]), "{found:?}");
    // A program of the present schema does not migrate, and so does not wait.
    assert!(obstacles(&db, UP_TO_ONE, MigrateMode::Auto).await.is_empty());
    lock::release(&holder.runner, &mut holder.connection, held.expect("the lock was free")).await.expect("releases");
    assert!(obstacles(&db, UP_TO_TWO, MigrateMode::Auto).await.is_empty());
}

async fn pending_steps_prevent_a_roll_when_nobody_applies_them(db: TestDatabase) {
    db.up(UP_TO_ONE).await;
    let found = obstacles(&db, UP_TO_TWO, MigrateMode::Off).await;
    assert!(matches!(&found[..], [RollingObstacle::Open(OpenError::OldSchema { is_off: true, .. })]), "{found:?}");
}

portcullis_testkit::on_both_engines!(
    nothing_prevents_a_roll_over_steps_that_expand,
    a_contract_step_prevents_a_roll,
    a_downgrade_over_a_contract_step_names_the_step,
    a_roll_waits_for_a_running_migration,
    pending_steps_prevent_a_roll_when_nobody_applies_them,
);

#[tokio::test]
async fn an_interrupted_index_prevents_a_roll() {
    let db = TestDatabase::postgres();
    db.up(UP_TO_ONE).await;
    let mut migrator = db.migrator(WITH_INDEXES).await;
    let twice = "ALTER TABLE things DROP CONSTRAINT things_pkey; INSERT INTO things VALUES (7)";
    migrator.connection.script(twice).await.expect("writes");
    migrator.up(|_| ()).await.expect_err("the ids are not unique");
    let found = obstacles(&db, WITH_INDEXES, MigrateMode::Auto).await;
    let [RollingObstacle::UnfinishedIndexes { indexes }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(indexes[..], ["things_one"]);
}

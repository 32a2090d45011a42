//! Reading all rows of one moment, while others write.

use portcullis_storage::{Snapshot, SnapshotError, StoredValue};
use portcullis_testkit::on_both_engines;

use crate::test_database::TestDatabase;

/// More rows than one page has.
const ROWS: usize = 2_001;

async fn fill(db: &TestDatabase) {
    db.store().await.close().await;
    let mut raw = db.raw().await;
    let rows = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS}) \
         INSERT INTO instance (key, value) SELECT 'key ' || n, 'value' FROM numbers"
    );
    raw.run(&rows).await;
}

async fn open(db: &TestDatabase) -> Result<Snapshot, SnapshotError> {
    Snapshot::open(&db.options().0).await
}

/// Returns the keys of all rows of the table `instance`.
async fn keys(snapshot: &mut Snapshot) -> Vec<String> {
    let table = snapshot.tables().iter().position(|table| table.name == "instance").expect("there is the table");
    let mut rows = snapshot.rows(table);
    let mut keys = Vec::new();
    while let Some(page) = rows.next_page().await.expect("reads") {
        keys.extend(page.into_iter().map(|row| match row.into_iter().next() {
            Some(StoredValue::Text(Some(key))) => key,
            other => panic!("{other:?} is no key"),
        }));
    }
    keys
}

async fn a_snapshot_has_every_row_of_its_moment(db: TestDatabase) {
    fill(&db).await;
    let mut snapshot = open(&db).await.expect("opens");
    let mut raw = db.raw().await;
    raw.run("INSERT INTO instance (key, value) VALUES ('later', 'value'); DELETE FROM instance WHERE key = 'key 7'")
        .await;
    let mut keys = keys(&mut snapshot).await;
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), ROWS);
    assert!(keys.contains(&"key 7".to_owned()) && !keys.contains(&"later".to_owned()));
    assert_eq!(snapshot.instance_value("key 7").await.expect("reads"), Some("value".to_owned()));
    snapshot.close().await;
}

async fn a_database_of_another_schema_is_not_read(db: TestDatabase) {
    fill(&db).await;
    db.raw().await.run("DELETE FROM schema_migrations WHERE version > 3").await;
    let error = open(&db).await.err().expect("it is refused");
    assert!(matches!(error, SnapshotError::Schema { found: 3, .. }), "{error:?}");
    assert_eq!(error.hint().as_deref(), Some("migrate it first: portcullis migrate up"));
}

on_both_engines!(a_snapshot_has_every_row_of_its_moment, a_database_of_another_schema_is_not_read);

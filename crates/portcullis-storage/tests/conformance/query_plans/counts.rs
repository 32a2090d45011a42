//! Long lists are counted by an index alone. A count stops at 100,000 rows, and to read so many from their table takes
//! longer than a statement may.

use portcullis_model::Role;
use portcullis_storage::{AuditFilter, Outcome, UserFilter};
use portcullis_testkit::PrivatePostgres;

use super::recorder::{Statement, record};
use super::{AUTO_EXPLAIN, filled_database};
use crate::test_database::{TestDatabase, days};

/// Asserts that the counts among these statements read no table.
fn assert_counts_by_index(statements: &[Statement]) {
    let counts: Vec<_> = statements.iter().filter(|(text, _)| text.contains("count(*)")).collect();
    assert_eq!(counts.len(), 1, "{statements:?}");
    let (text, plan) = counts[0];
    let readings: Vec<_> =
        plan.iter().filter(|line| line.contains(" on users") || line.contains(" on audit_log")).collect();
    assert!(!readings.is_empty(), "{text}\n{}", plan.join("\n"));
    assert!(readings.iter().all(|line| line.contains("Index Only Scan")), "{text}\n{}", plan.join("\n"));
}

#[tokio::test]
async fn sr_52_long_lists_are_counted_by_an_index_alone() {
    let server = PrivatePostgres::shared();
    let url = server.database();
    let db = TestDatabase::at(&url);
    filled_database::open(&db).await.close().await;
    let mut raw = db.raw().await;
    for table in ["users", "audit_log"] {
        raw.run(&format!("VACUUM (ANALYZE) {table}")).await;
    }
    // To read a small table as a whole is cheap; the plan for a large one is looked for.
    let store = TestDatabase::at(&format!("{url}?{AUTO_EXPLAIN}%20-c%20enable_seqscan%3Doff")).store().await;
    let (role, is_active) = (Some(Role::Developer), Some(true));
    for filter in [
        UserFilter::default(),
        UserFilter { role, ..UserFilter::default() },
        UserFilter { is_active, ..UserFilter::default() },
        UserFilter { role, is_active, ..UserFilter::default() },
    ] {
        let statements = record(async { drop(store.list_users(&filter, 20, 0).await.expect("reads")) }).await;
        assert_counts_by_index(&statements);
    }
    let user = store.list_users(&UserFilter::default(), 1, 0).await.expect("reads").users[0].id;
    let action = Some("a".to_owned());
    for filter in [
        AuditFilter::default(),
        AuditFilter { user: Some(user), ..AuditFilter::default() },
        AuditFilter { action: action.clone(), ..AuditFilter::default() },
        AuditFilter { action, user: Some(user), ..AuditFilter::default() },
        AuditFilter { outcome: Some(Outcome::Failure), ..AuditFilter::default() },
        AuditFilter { from: Some(db.now() - days(2)), to: Some(db.now()), ..AuditFilter::default() },
    ] {
        let statements = record(async { drop(store.audit_page(&filter, 20, 0).await.expect("reads")) }).await;
        assert_counts_by_index(&statements);
    }
}

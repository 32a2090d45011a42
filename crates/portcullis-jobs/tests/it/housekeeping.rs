//! What housekeeping deletes.

use std::sync::Arc;
use std::time::Duration;

use portcullis_jobs::{HousekeepingOptions, Jobs, RunOutcome, housekeeping};
use portcullis_model::RolePermissions;
use portcullis_sessions::{SessionCache, SessionCacheOptions};
use portcullis_storage::Store;

use crate::test_database::{TestDatabase, replica, run};

const DAY: Duration = Duration::from_secs(86_400);

fn jobs(store: &Store, audit_kept: Option<Duration>) -> Arc<Jobs> {
    let sessions = SessionCache::new(store, RolePermissions::default(), SessionCacheOptions::default());
    replica(store, housekeeping(store, &sessions, HousekeepingOptions { audit_kept, unconfirmed_kept: audit_kept }))
}

async fn a_backlog_is_pruned_in_batches(database: TestDatabase) {
    let store = database.store().await;
    let mut raw = database.raw().await;
    let (old, young) = (raw.instant(database.clock.now() - DAY * 2), raw.instant(database.clock.now()));
    let id = raw.new_id();
    for (at, rows) in [(&old, 2_500), (&young, 10)] {
        raw.run(&format!(
            "INSERT INTO revocations (at, user_id, session_id, epoch, ends) \
             WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {rows}) \
             SELECT CAST({at} AS {}), {id}, NULL, 2, {} FROM numbers",
            if store.engine() == "sqlite" { "TEXT" } else { "TIMESTAMPTZ" },
            if store.engine() == "sqlite" { "0" } else { "FALSE" },
        ))
        .await;
    }
    let before = deletes(&store);
    assert!(matches!(run(&jobs(&store, None), "prune_revocations").await, Some(RunOutcome::Succeeded)));
    assert_eq!(raw.number("SELECT count(*) FROM revocations").await, 10);
    assert_eq!(deletes(&store) - before, 3, "a thousand rows a transaction");
}

/// How many DELETE statements have run on the revocation log.
fn deletes(store: &Store) -> u64 {
    let page = store.metrics().render(false);
    let sample = "database_query_duration_seconds_count{operation=\"DELETE\",table=\"revocations\"} ";
    page.lines().find_map(|line| line.strip_prefix(sample)).map_or(0, |count| count.parse().expect("a number"))
}

async fn the_audit_log_is_kept_for_ever_unless_told_otherwise(database: TestDatabase) {
    let store = database.store().await;
    let named = |jobs: &Jobs| jobs.statuses().iter().any(|job| job.name == "prune_audit_log");
    assert!(!named(&jobs(&store, None)));
    assert!(named(&jobs(&store, Some(DAY))));
}

async fn every_job_of_housekeeping_succeeds_on_an_empty_database(database: TestDatabase) {
    let store = database.store().await;
    let jobs = jobs(&store, Some(DAY));
    for job in jobs.statuses() {
        assert!(matches!(run(&jobs, job.name).await, Some(RunOutcome::Succeeded)), "{}", job.name);
    }
    assert!(jobs.statuses().iter().all(|job| job.last_succeeded == Some(true) && job.last_success_at.is_some()));
}

portcullis_testkit::on_both_engines!(
    a_backlog_is_pruned_in_batches,
    the_audit_log_is_kept_for_ever_unless_told_otherwise,
    every_job_of_housekeeping_succeeds_on_an_empty_database,
);

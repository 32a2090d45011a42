//! Which replica runs a job.

use std::sync::Arc;
use std::time::Duration;

use portcullis_jobs::{LEASE, RunError, RunOutcome};
use tokio_util::sync::CancellationToken;

use crate::test_database::{Gate, HOUR, TestDatabase, replica, run, within_a_minute};

async fn of_two_replicas_one_runs_a_job(database: TestDatabase) {
    let (here, there) = (database.store().await, database.store().await);
    let (job, mut gate) = Gate::job("work");
    let (other, _other_gate) = Gate::job("work");
    let (ours, theirs) = (replica(&here, vec![job]), replica(&there, vec![other]));
    let running = tokio::spawn({
        let ours = Arc::clone(&ours);
        async move { run(&ours, "work").await }
    });
    gate.began().await;
    assert!(run(&theirs, "work").await.is_none(), "both run it");
    gate.open();
    assert!(matches!(running.await.expect("does not panic"), Some(RunOutcome::Succeeded)));
    assert!(run(&theirs, "work").await.is_none(), "it is not due yet");
}

async fn a_job_is_due_again_after_its_interval(database: TestDatabase) {
    let (here, there) = (database.store().await, database.store().await);
    let (job, gate) = Gate::job("work");
    let (other, other_gate) = Gate::job("work");
    let (ours, theirs) = (replica(&here, vec![job]), replica(&there, vec![other]));
    gate.open();
    assert!(matches!(run(&ours, "work").await, Some(RunOutcome::Succeeded)));
    assert!(run(&ours, "work").await.is_none());
    // The interval and its jitter, which is a tenth at most.
    database.clock.advance(HOUR * 11 / 10);
    other_gate.open();
    assert!(matches!(run(&theirs, "work").await, Some(RunOutcome::Succeeded)));
}

async fn a_dead_holder_is_replaced_when_its_lease_runs_out(database: TestDatabase) {
    let (here, there) = (database.store().await, database.store().await);
    let (job, mut gate) = Gate::job("work");
    let (other, other_gate) = Gate::job("work");
    let (ours, theirs) = (replica(&here, vec![job]), replica(&there, vec![other]));
    let running = tokio::spawn(async move { run(&ours, "work").await });
    gate.began().await;
    running.abort();
    assert!(running.await.expect_err("was aborted").is_cancelled());
    other_gate.open();
    assert!(run(&theirs, "work").await.is_none(), "the lease has not run out");
    database.clock.advance(LEASE);
    assert!(matches!(run(&theirs, "work").await, Some(RunOutcome::Succeeded)));
}

async fn a_holder_that_was_replaced_changes_nothing(database: TestDatabase) {
    let (here, there) = (database.store().await, database.store().await);
    assert!(here.claim_job("work", LEASE).await.expect("runs"));
    assert!(here.renew_job("work", LEASE).await.expect("runs"));
    database.clock.advance(LEASE);
    assert!(!here.renew_job("work", LEASE).await.expect("runs"), "it has run out");
    assert!(there.claim_job("work", LEASE).await.expect("runs"));
    here.finish_job("work", Some("too late"), HOUR).await.expect("runs");
    here.release_job("work").await.expect("runs");
    assert!(there.renew_job("work", LEASE).await.expect("runs"), "the new holder lost its lease");
    assert_eq!(there.job_records().await.expect("reads")[0].last_error, None);
}

async fn a_renewed_lease_is_not_taken(database: TestDatabase) {
    let (here, there) = (database.store().await, database.store().await);
    assert!(here.claim_job("work", LEASE).await.expect("runs"));
    for _ in 0..4 {
        database.clock.advance(LEASE / 2);
        assert!(here.renew_job("work", LEASE).await.expect("runs"));
        assert!(!there.claim_job("work", LEASE).await.expect("runs"));
    }
}

/// Long enough that a renewal after a third of it comes in time on a busy machine.
const SHORT: Duration = Duration::from_secs(3);

async fn a_lease_is_renewed_while_a_batch_runs(database: TestDatabase) {
    let store = database.store().await;
    let (job, mut gate) = Gate::job("work");
    let jobs = replica(&store, vec![job.with_lease(SHORT)]);
    let running = tokio::spawn(async move { run(&jobs, "work").await });
    gate.began().await;
    let mut raw = database.raw().await;
    let lease = "SELECT CAST(lease_until AS TEXT) FROM jobs";
    let first = raw.texts(lease).await;
    within_a_minute(async { while raw.texts(lease).await == first {} }).await;
    gate.open();
    assert!(matches!(running.await.expect("does not panic"), Some(RunOutcome::Succeeded)));
}

async fn a_run_ends_when_another_replica_has_its_lease(database: TestDatabase) {
    let (here, there) = (database.store().await, database.store().await);
    let (job, mut gate) = Gate::job("work");
    let ours = replica(&here, vec![job.with_lease(SHORT)]);
    let running = tokio::spawn(async move { run(&ours, "work").await });
    gate.began().await;
    database.clock.advance(SHORT);
    assert!(there.claim_job("work", LEASE).await.expect("runs"));
    let outcome = within_a_minute(running).await.expect("does not panic");
    assert!(matches!(outcome, Some(RunOutcome::Failed(RunError::LeaseLost))), "{outcome:?}");
    assert!(there.renew_job("work", LEASE).await.expect("runs"), "the new holder lost its lease");
}

async fn a_stop_ends_the_run_after_its_batch(database: TestDatabase) {
    let (here, there) = (database.store().await, database.store().await);
    let (job, mut gate) = Gate::job("work");
    let (other, other_gate) = Gate::job("work");
    let (ours, theirs) = (replica(&here, vec![job]), replica(&there, vec![other]));
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&ours).run(stop.clone()));
    gate.began().await;
    stop.cancel();
    assert!(!running.is_finished(), "the stop did not wait for the batch");
    gate.open();
    running.await.expect("does not panic");
    other_gate.open();
    assert!(run(&theirs, "work").await.is_none(), "the batch was the last one, so the run succeeded");
}

async fn a_run_that_was_stopped_goes_on_elsewhere_at_once(database: TestDatabase) {
    let (here, there) = (database.store().await, database.store().await);
    let (job, _gate) = Gate::job("work");
    let (other, other_gate) = Gate::job("work");
    let (ours, theirs) = (replica(&here, vec![job]), replica(&there, vec![other]));
    let stopped = CancellationToken::new();
    stopped.cancel();
    let outcome = ours.run_if_due("work", &stopped).await.expect("the database can be reached");
    assert!(matches!(outcome, Some(RunOutcome::Stopped)), "{outcome:?}");
    other_gate.open();
    assert!(matches!(run(&theirs, "work").await, Some(RunOutcome::Succeeded)));
}

portcullis_testkit::on_both_engines!(
    of_two_replicas_one_runs_a_job,
    a_job_is_due_again_after_its_interval,
    a_dead_holder_is_replaced_when_its_lease_runs_out,
    a_holder_that_was_replaced_changes_nothing,
    a_renewed_lease_is_not_taken,
    a_lease_is_renewed_while_a_batch_runs,
    a_run_ends_when_another_replica_has_its_lease,
    a_stop_ends_the_run_after_its_batch,
    a_run_that_was_stopped_goes_on_elsewhere_at_once,
);

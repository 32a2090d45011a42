//! The database is lost in the middle of a run and comes back.

use std::sync::Arc;

use portcullis_jobs::{Batch, Job, LEASE, RunOutcome};
use portcullis_testkit::{PrivateDatabase, PrivatePostgres, Stopwatch};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::test_database::{Gate, HOUR, TestDatabase, replica, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_loses_postgresql_fails_and_is_repeated() {
    let server = PrivatePostgres::start();
    let database = TestDatabase::from(PrivateDatabase::at(server.database()));
    let store = database.store_with_short_timeout().await;
    let (began, lost) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let work = (store.clone(), Arc::clone(&began), Arc::clone(&lost));
    let job = Job::on_one_replica("work", HOUR, move || {
        let (store, began, lost) = work.clone();
        async move {
            began.add_permits(1);
            let _lost = lost.acquire().await?;
            store.ping().await?;
            Ok(Batch::Last)
        }
    });
    let jobs = replica(&store, vec![job]);
    let running = tokio::spawn({
        let jobs = Arc::clone(&jobs);
        async move { run(&jobs, "work").await }
    });
    began.acquire().await.expect("is never closed").forget();
    server.stop();
    lost.add_permits(10);
    assert!(matches!(running.await.expect("does not panic"), Some(RunOutcome::Failed(_))));
    assert!(jobs.run_if_due("work", &CancellationToken::new()).await.is_err(), "no lease without a database");

    server.start_again();
    while store.ping().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(run(&jobs, "work").await.is_none(), "the lease of the failed run has not run out");
    database.clock.advance(LEASE);
    assert!(matches!(run(&jobs, "work").await, Some(RunOutcome::Succeeded)));
}

/// The only connection is taken while the job is due, as at a start with more jobs than connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_found_no_connection_runs_soon_after() {
    let database = TestDatabase::from(PrivateDatabase::postgres());
    let store = database.store_of_one_connection().await;
    let taken = store.begin().await.expect("begins");
    let (job, mut gate) = Gate::job("work");
    let jobs = replica(&store, vec![job]);
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&jobs).run(stop.clone()));
    let has_failed = || {
        let page = store.metrics().render(false);
        let mut inserts = page.lines().filter(|line| line.starts_with("database_errors_total{operation=\"INSERT\""));
        inserts.any(|line| !line.ends_with(" 0"))
    };
    while !has_failed() {
        tokio::task::yield_now().await;
    }
    drop(taken);
    let stopwatch = Stopwatch::start();
    gate.began().await;
    // A job that failed is looked at again after a minute.
    stopwatch.assert_within(0.0..40.0);
    gate.open();
    stop.cancel();
    running.await.expect("ends when cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_sqlite_file_delays_a_job_only_while_locked() {
    let database = TestDatabase::from(PrivateDatabase::sqlite());
    let store = database.store_with_short_timeout().await;
    let (job, gate) = Gate::job("work");
    let jobs = replica(&store, vec![job]);
    let mut raw = database.raw().await;
    raw.run("BEGIN IMMEDIATE").await;
    assert!(jobs.run_if_due("work", &CancellationToken::new()).await.is_err());
    raw.run("ROLLBACK").await;
    gate.open();
    assert!(matches!(run(&jobs, "work").await, Some(RunOutcome::Succeeded)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_counted_is_shown_while_postgresql_is_gone() {
    let server = PrivatePostgres::start();
    let database = TestDatabase::from(PrivateDatabase::at(server.database()));
    let store = database.store_with_short_timeout().await;
    let jobs = replica(&store, vec![]);
    let shown = |name: &str| {
        let page = store.metrics().render(false);
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok())
    };
    assert_eq!(shown("sessions_live"), None, "nothing is known yet");
    jobs.refresh_counts().await.expect("reads");
    assert_eq!((shown("sessions_live"), shown("mails_waiting")), (Some(0.0), Some(0.0)));
    let age = shown("database_reading_age_seconds").expect("known");
    server.stop();
    assert!(jobs.refresh_counts().await.is_err());
    assert_eq!((shown("sessions_live"), shown("mails_waiting")), (Some(0.0), Some(0.0)));
    assert!(shown("database_reading_age_seconds").expect("known") > age);
}

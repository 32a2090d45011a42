//! A job that fails, panics or hangs is reported under its own name and disturbs no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_jobs::{Batch, Job, JobError, RunOutcome};
use portcullis_testkit::{EventListener, PrivateDatabase, field_text};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Event;

use crate::test_database::{HOUR, TestDatabase, recorded_replica, replica, run, within_a_minute};

/// A job on every replica that tells of each run, again and again without a pause to speak of.
fn counted(name: &'static str) -> (Job, mpsc::UnboundedReceiver<()>) {
    let (sender, runs) = mpsc::unbounded_channel();
    let job = Job::on_every_replica(name, Duration::from_millis(1), move || {
        let _ = sender.send(());
        std::future::ready(Ok(Batch::Last))
    });
    (job, runs)
}

async fn panics() -> Result<Batch, JobError> {
    panic!("a defect in a job")
}

fn panics_without_a_future() -> std::future::Ready<Result<Batch, JobError>> {
    panic!("a defect in a job")
}

async fn bad_jobs_do_not_delay_a_good_one(database: TestDatabase) {
    let store = database.store().await;
    let (good, mut runs) = counted("good");
    let jobs = vec![
        Job::on_one_replica("failing", HOUR, || std::future::ready(Err("no luck".into()))),
        Job::on_one_replica("panicking", HOUR, panics),
        Job::on_one_replica("panicking_early", HOUR, panics_without_a_future),
        Job::on_one_replica("hanging", HOUR, std::future::pending).with_batch_timeout(Duration::from_millis(20)),
        good,
    ];
    let jobs = replica(&store, jobs);
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&jobs).run(stop.clone()));
    within_a_minute(async {
        loop {
            runs.recv().await.expect("the good job goes on");
            let failed = jobs.statuses().iter().filter(|job| job.last_succeeded == Some(false)).count();
            if failed == 4 {
                break;
            }
        }
    })
    .await;
    stop.cancel();
    running.await.expect("no panic leaves a run");
    let errors: Vec<_> = jobs.statuses().into_iter().map(|job| (job.name, job.last_error)).collect();
    let expected = [
        ("failing", Some("a batch failed: no luck".to_owned())),
        ("panicking", Some("a batch panicked".to_owned())),
        ("panicking_early", Some("a batch panicked".to_owned())),
        ("hanging", Some("a batch took longer than 0 s".to_owned())),
        ("good", None),
    ];
    assert_eq!(errors, expected);
    let page = store.metrics().render(false);
    assert!(page.contains("jobs_total{job=\"panicking\",result=\"failure\"} 1\n"), "{page}");
    assert!(page.contains("jobs_total{job=\"good\",result=\"success\"} "), "{page}");
    assert!(page.contains("jobs_total{job=\"good\",result=\"failure\"} 0\n"), "it begins at zero: {page}");
    assert!(page.contains("job_last_success_timestamp_seconds{job=\"good\"} "), "{page}");
    assert!(!page.contains("job_last_success_timestamp_seconds{job=\"failing\"}"), "{page}");
}

async fn a_failed_job_is_repeated_and_recovers(database: TestDatabase) {
    let store = database.store().await;
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let job = Job::on_one_replica("work", HOUR, move || {
        let is_broken = is_broken.load(Ordering::Acquire);
        std::future::ready(if is_broken { Err("no luck".into()) } else { Ok(Batch::Last) })
    });
    let jobs = replica(&store, vec![job]);
    assert!(matches!(run(&jobs, "work").await, Some(RunOutcome::Failed(_))));
    assert!(run(&jobs, "work").await.is_none(), "it is not repeated at once");
    broken.store(false, Ordering::Release);
    // A minute and its jitter, not the hour of its schedule.
    database.clock.advance(Duration::from_secs(66));
    assert!(matches!(run(&jobs, "work").await, Some(RunOutcome::Succeeded)));
    let status = jobs.statuses().remove(0);
    assert_eq!((status.last_succeeded, status.last_error), (Some(true), None));
}

async fn a_panic_is_a_failed_run_and_an_error_report(database: TestDatabase) {
    let store = database.store().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let times = Arc::clone(&runs);
    let job = Job::on_one_replica("work", HOUR, move || {
        let time = times.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(time > 0, "a defect in run {time}");
            Ok(Batch::Last)
        }
    });
    let (jobs, errors) = recorded_replica(&store, vec![job]);
    assert!(matches!(run(&jobs, "work").await, Some(RunOutcome::Failed(_))));
    let recorded = errors.fetch();
    let [error] = &recorded[..] else { panic!("{recorded:?}") };
    assert_eq!((error.kind.as_str(), error.route.as_deref()), ("panic", Some("work")));
    assert!(error.message.contains("a defect in run 0"), "{error:?}");
    assert!(store.metrics().render(false).contains("panics_total 1\n"));
    database.clock.advance(Duration::from_secs(66));
    assert!(matches!(run(&jobs, "work").await, Some(RunOutcome::Succeeded)), "the job does not run again");
}

async fn a_failed_run_is_an_error_report(database: TestDatabase) {
    let store = database.store().await;
    let job = Job::on_one_replica("work", HOUR, || std::future::ready(Err("no luck with ada@example.com".into())));
    let (jobs, errors) = recorded_replica(&store, vec![job]);
    run(&jobs, "work").await.expect("is due");
    let recorded = errors.fetch();
    let [error] = &recorded[..] else { panic!("{recorded:?}") };
    assert_eq!((error.kind.as_str(), error.route.as_deref()), ("job", Some("work")));
    assert_eq!(error.message, "a batch failed: no luck with [redacted]");
}

async fn every_replica_says_the_same_of_a_shared_job(database: TestDatabase) {
    let (here, there) = (database.store().await, database.store().await);
    let work = || Job::on_one_replica("work", HOUR, || std::future::ready(Ok(Batch::Last)));
    let (ours, theirs) = (replica(&here, vec![work()]), replica(&there, vec![work()]));
    run(&ours, "work").await.expect("is due");
    theirs.refresh().await.expect("reads");
    assert_eq!(ours.statuses(), theirs.statuses());
    let sample = |page: &str| {
        let mut lines = page.lines();
        lines.find(|line| line.starts_with("job_last_success_timestamp_seconds{job=\"work\"} ")).map(str::to_owned)
    };
    let (ours, theirs) = (sample(&here.metrics().render(false)), sample(&there.metrics().render(false)));
    assert!(ours.is_some() && ours == theirs, "{ours:?} {theirs:?}");
}

async fn a_replicas_own_failure_is_not_hidden_by_others(database: TestDatabase) {
    let (here, there) = (database.store().await, database.store().await);
    let failing = Job::on_every_replica("work", HOUR, || std::future::ready(Err("no luck".into())));
    let good = Job::on_every_replica("work", HOUR, || std::future::ready(Ok(Batch::Last)));
    let (ours, theirs) = (replica(&here, vec![failing]), replica(&there, vec![good]));
    run(&ours, "work").await.expect("runs on every replica");
    run(&theirs, "work").await.expect("runs on every replica");
    ours.refresh().await.expect("reads");
    let status = ours.statuses().remove(0);
    assert_eq!(status.last_succeeded, Some(false));
    assert!(status.last_success_at.is_some(), "the other replica's success is not known here");
}

/// On one thread, because the listener hears only the thread that made it.
#[tokio::test]
async fn a_panic_outside_of_its_work_does_not_end_a_job() {
    let database = TestDatabase::from(PrivateDatabase::sqlite());
    let store = database.store().await;
    let panicked = Arc::new(AtomicBool::new(false));
    let panics_once = {
        let panicked = Arc::clone(&panicked);
        move |event: &Event<'_>| {
            let is_report = field_text(event, "message").starts_with("a job failed");
            assert!(!is_report || panicked.swap(true, Ordering::SeqCst), "a defect beside the work");
        }
    };
    let listener = EventListener::new(|target| target.starts_with("portcullis_jobs"), panics_once);
    let _listening = tracing::subscriber::set_default(listener);
    let (sender, mut runs) = mpsc::unbounded_channel();
    let job = Job::on_every_replica("failing", Duration::from_millis(1), move || {
        let _ = sender.send(());
        std::future::ready(Err("no luck".into()))
    });
    let stop = CancellationToken::new();
    let running = tokio::spawn(replica(&store, vec![job]).run(stop.clone()));
    within_a_minute(async {
        for _ in 0..2 {
            runs.recv().await.expect("the job goes on");
        }
    })
    .await;
    stop.cancel();
    running.await.expect("it ends");
    assert!(panicked.load(Ordering::SeqCst));
    assert!(store.metrics().render(false).contains("panics_total 1\n"));
}

portcullis_testkit::on_both_engines!(
    bad_jobs_do_not_delay_a_good_one,
    a_failed_job_is_repeated_and_recovers,
    a_panic_is_a_failed_run_and_an_error_report,
    a_failed_run_is_an_error_report,
    every_replica_says_the_same_of_a_shared_job,
    a_replicas_own_failure_is_not_hidden_by_others,
);

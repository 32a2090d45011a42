//! `docs/jobs.md` lists every job with its schedule.

use std::time::Duration;

use portcullis_jobs::{HousekeepingOptions, Job, Scope, housekeeping};
use portcullis_model::RolePermissions;
use portcullis_sessions::{SessionCache, SessionCacheOptions};
use portcullis_testkit::PrivateDatabase;

use crate::test_database::TestDatabase;

fn row(job: &Job) -> String {
    let seconds = job.interval().as_secs();
    let interval = match seconds {
        3_600 => "1 h".to_owned(),
        60 => "1 min".to_owned(),
        _ => format!("{seconds} s"),
    };
    let scope = match job.scope() {
        Scope::OneReplica => "one replica",
        Scope::EveryReplica => "every replica",
    };
    format!("| `{}` | {interval} | {scope} |", job.name())
}

#[tokio::test]
async fn the_page_about_jobs_lists_every_job() {
    let store = TestDatabase::from(PrivateDatabase::sqlite()).store().await;
    let sessions = SessionCache::new(&store, RolePermissions::default(), SessionCacheOptions::default());
    let options = HousekeepingOptions {
        audit_kept: Some(Duration::from_secs(1)),
        unconfirmed_kept: Some(Duration::from_secs(1)),
    };
    let page = include_str!("../../../../docs/jobs.md");
    let jobs = housekeeping(&store, &sessions, options);
    for job in &jobs {
        assert!(page.contains(&row(job)), "docs/jobs.md has no line that begins with {}", row(job));
    }
    let listed = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(listed, jobs.len(), "docs/jobs.md lists a job that does not exist");
}

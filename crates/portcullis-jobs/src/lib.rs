//! Named periodic work.
//!
//! A [`Job`] has a name, an interval and a function that does one batch. [`Jobs`] runs each in a task of its own, so
//! that a job that is slow or fails delays no other. A job that one replica is enough for is run under a lease in the
//! database: a replica that dies is replaced when its lease runs out. Every run ends with a result that is counted, kept
//! in the database and shown by `/api/health/detailed`.
//!
//! `docs/jobs.md` lists the jobs for operators.

mod database_counts;
mod housekeeping;
mod job;
mod lease;
mod run;
mod runner;
mod schedule;
mod status;

pub use housekeeping::{HousekeepingOptions, housekeeping};
pub use job::{Batch, Job, JobError, LEASE, Scope};
pub use run::{RunError, RunOutcome};
pub use runner::Jobs;
pub use status::JobStatus;

//! The asynchronous runtime of commands that open the database or judge a request.

use tokio::runtime::{Builder, Runtime};

use super::output::Failure;

/// Starts a runtime on the current thread.
pub(super) fn start() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::new(format!("the asynchronous runtime cannot be started: {error}"))
            .hint("raise the limit of open files of this user (ulimit -n)")
    })
}

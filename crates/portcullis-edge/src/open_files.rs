//! The process's limit of open files (`RLIMIT_NOFILE`), which bounds how many connections it can hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the process has open beside its clients' connections: database, logs, Redis.
const OTHER_FILES: u64 = 200;

/// Raises the limit of open files as far as the process's user may, and warns when it is too low for
/// `max_connections` clients.
pub fn raise_open_file_limit(max_connections: u32) {
    let limits = getrlimit(Resource::Nofile);
    if let Some(maximum) = limits.maximum
        && limits.current.is_some_and(|current| current < maximum)
    {
        let raised = Rlimit { current: Some(maximum), maximum: Some(maximum) };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files could not be raised");
        }
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // A proxied request uses two: the client's connection and the upstream's.
    let needed = 2 * u64::from(max_connections) + OTHER_FILES;
    if files < needed {
        tracing::warn!(
            files,
            needed,
            "the limit of open files is too low for server.max_connections; hint: raise it (ulimit -n, LimitNOFILE=) \
             or lower server.max_connections"
        );
    }
}

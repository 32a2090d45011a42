//! The process's limit of open files (`RLIMIT_NOFILE`), which bounds how many connections it can hold.

use portcullis_model::Finding;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the process has open beside its connections to clients and upstreams: database, logs, Redis.
const OTHER_FILES: u64 = 200;
/// The name of the check of `portcullis doctor`.
const OPEN_FILES: &str = "machine.files";

/// The files that the process may have open at once by its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// Connections of clients.
    pub clients: u64,
    /// Connections to upstreams: those of requests, and those of streams.
    pub upstreams: u64,
}

impl OpenFiles {
    /// Raises the process's limit as far as its user may, and warns if that is too low for the settings. Returns how many
    /// clients may connect: no more than fit into the limit, so that none of them fails to be accepted for want of a file.
    pub fn raise_limit(self) -> u64 {
        let limits = getrlimit(Resource::Nofile);
        if let Some(maximum) = limits.maximum
            && limits.current.is_some_and(|current| current < maximum)
        {
            let raised = Rlimit { current: Some(maximum), maximum: Some(maximum) };
            if let Err(error) = setrlimit(Resource::Nofile, raised) {
                tracing::debug!(%error, "the limit of open files could not be raised");
            }
        }
        self.warn_if_too_low();
        getrlimit(Resource::Nofile).current.map_or(self.clients, |limit| self.clients_within(limit))
    }

    /// Warns if the process's limit is too low for the settings.
    pub fn warn_if_too_low(self) {
        let Some(limit) = getrlimit(Resource::Nofile).current else { return };
        let missing = self.missing(limit);
        if missing > 0 {
            tracing::warn!(
                limit,
                missing,
                needed = self.needed(),
                clients = self.clients,
                upstreams = self.upstreams,
                allowed = self.clients_within(limit),
                "the limit of open files is too low for the settings by {missing}; hint: raise it (ulimit -n, \
                 LimitNOFILE=), or lower server.max_connections or the max_connections and max_streams of upstreams"
            );
        }
    }

    /// What `portcullis doctor` says of the limit: of the gateway with this process id, or of one that this user would start.
    pub fn diagnose(self, gateway: Option<u32>) -> Finding {
        let of_gateway = gateway.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/limits")).ok());
        match of_gateway.as_deref().and_then(soft_limit) {
            Some(limit) => self.judge(limit, "the running gateway may open"),
            // A gateway raises its limit as far as it may.
            None => self.judge(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX), "this user may open"),
        }
    }

    fn judge(self, limit: u64, who: &str) -> Finding {
        let shown = if limit == u64::MAX { "any number of".to_owned() } else { limit.to_string() };
        let text = format!("{who} {shown} files; the settings allow for {}", self.needed());
        match self.missing(limit) {
            0 => Finding::pass(OPEN_FILES, text),
            missing => Finding::warn(
                OPEN_FILES,
                format!(
                    "{text}, {missing} too many, so that at most {} clients may connect",
                    self.clients_within(limit)
                ),
                "raise the limit (ulimit -n, LimitNOFILE= of systemd), or lower server.max_connections or the \
                 max_connections and max_streams of upstreams",
            ),
        }
    }

    fn needed(self) -> u64 {
        self.clients.saturating_add(self.upstreams).saturating_add(OTHER_FILES)
    }

    /// How many clients may connect within a limit. Upstreams get what they may need, at most two fifths: some clients are
    /// always idle.
    fn clients_within(self, limit: u64) -> u64 {
        let left = limit.saturating_sub(OTHER_FILES);
        self.clients.min(left - self.upstreams.min(left / 5 * 2)).max(1)
    }

    /// By how much a limit is too low.
    fn missing(self, limit: u64) -> u64 {
        self.needed().saturating_sub(limit)
    }
}

/// The soft limit in `/proc/PID/limits` (`proc_pid_limits(5)`).
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::finding::Status;

    use super::*;

    #[test]
    fn the_limit_of_another_process_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             128041               128041               processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit("Max open files   unlimited  unlimited  files\n"), Some(u64::MAX));
        let files = OpenFiles { clients: 1_000, upstreams: 300 };
        assert_eq!(files.judge(1_500, "x").status, Status::Pass);
        let low = files.judge(1_024, "x");
        assert_eq!(low.status, Status::Warn);
        assert!(low.found.contains("476 too many"), "{}", low.found);
        assert_eq!(files.diagnose(Some(std::process::id())).check, OPEN_FILES);
    }

    #[test]
    fn no_more_clients_connect_than_the_limit_allows() {
        let files = OpenFiles { clients: 1_000, upstreams: 300 };
        for (limit, clients) in [(u64::MAX, 1_000), (1_500, 1_000), (1_400, 900), (800, 360), (600, 240), (100, 1)] {
            assert_eq!(files.clients_within(limit), clients, "{limit}");
        }
    }

    #[test]
    fn both_sides_count_against_the_limit() {
        let files = OpenFiles { clients: 1_000, upstreams: 300 };
        assert_eq!(files.missing(1_500), 0);
        assert_eq!(files.missing(1_499), 1);
        assert_eq!(files.missing(1_024), 476);
        assert_eq!(OpenFiles { clients: u64::MAX, upstreams: 1 }.missing(u64::MAX), 0);
    }
}

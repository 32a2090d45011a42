//! The process's limit of open files (`RLIMIT_NOFILE`), which bounds how many connections it can hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the process has open beside its connections to clients and upstreams: database, logs, Redis.
const OTHER_FILES: u64 = 200;

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

#[cfg(test)]
mod tests {
    use super::*;

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

//! What replicas share, on real servers: alone, over TLS, behind Sentinel, as a cluster; and with each of them gone.
#![expect(clippy::print_stderr, reason = "what a test measured is shown beside its outcome")]

mod bed;
mod bell;
mod connecting;
mod layouts;
mod limits;
mod outages;
mod sessions;

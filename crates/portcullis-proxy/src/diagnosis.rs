//! The upstreams' part of `portcullis doctor`: whether the name of a target resolves and whether it accepts connections. It
//! sends no request.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use portcullis_model::Finding;
use tokio::net::{TcpStream, lookup_host};
use url::Url;

/// Looks at a target of an upstream. Every address of its name is tried, each within `connect_timeout`.
pub async fn diagnose(upstream: &str, target: &Url, connect_timeout: Duration, found: &mut Vec<Finding>) {
    let check = format!("upstream.{upstream}");
    let host = target.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = target.port_or_known_default().unwrap_or(80);
    let shown = format!("{}:{port}", target.host_str().unwrap_or_default());
    let addresses: Vec<SocketAddr> = match lookup_host((host.as_str(), port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            let text = format!("{shown} does not resolve: {error}");
            return found.push(Finding::fail(check, text, NO_NAME));
        }
    };
    let outcomes = join_all(addresses.iter().map(|address| connect(*address, connect_timeout))).await;
    found.push(judge(check, &shown, &addresses, &outcomes));
}

const NO_NAME: &str = "correct targets of the upstream, or make the name known to the resolver of this machine";
const NO_SERVICE: &str = "start the service, or correct targets of the upstream; check firewalls between";

async fn connect(address: SocketAddr, limit: Duration) -> io::Result<Duration> {
    let begun = Instant::now();
    match tokio::time::timeout(limit, TcpStream::connect(address)).await {
        Ok(connected) => connected.map(|_| begun.elapsed()),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs_f64()))),
    }
}

fn judge(check: String, shown: &str, addresses: &[SocketAddr], outcomes: &[io::Result<Duration>]) -> Finding {
    let failures = addresses
        .iter()
        .zip(outcomes)
        .filter_map(|(address, outcome)| outcome.as_ref().err().map(|error| format!("{address}: {error}")));
    let failures: Vec<String> = failures.collect();
    let fastest = outcomes.iter().flatten().min();
    match (fastest, failures.is_empty()) {
        (None, true) => Finding::fail(check, format!("{shown} has no address"), NO_NAME),
        (None, false) => {
            Finding::fail(check, format!("{shown} takes no connection: {}", failures.join(", ")), NO_SERVICE)
        }
        (Some(took), true) => {
            Finding::pass(check, format!("{shown} takes connections, in {:.1} ms", took.as_secs_f64() * 1e3))
        }
        (Some(_), false) => {
            let text = format!("{shown} takes connections at some of its addresses only: {}", failures.join(", "));
            Finding::warn(check, text, NO_SERVICE)
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::finding::Status;
    use portcullis_testkit::free_port;

    use super::*;

    async fn finding(target: &str) -> Finding {
        let mut found = Vec::new();
        diagnose("app", &Url::parse(target).expect("a URL"), Duration::from_secs(10), &mut found).await;
        found.remove(0)
    }

    #[tokio::test]
    async fn a_target_that_takes_connections_passes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let found = finding(&format!("http://127.0.0.1:{port}")).await;
        assert_eq!((found.check.as_str(), found.status), ("upstream.app", Status::Pass), "{found:?}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_and_a_closed_port_fail() {
        let unknown = finding("http://no-such-name.invalid:8002").await;
        assert!(unknown.status == Status::Fail && unknown.found.contains("does not resolve"), "{unknown:?}");
        let closed = finding(&format!("http://127.0.0.1:{}", free_port())).await;
        assert!(closed.status == Status::Fail && closed.found.contains("takes no connection"), "{closed:?}");
    }
}

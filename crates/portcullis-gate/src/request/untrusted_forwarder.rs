//! The warning about a proxy that forwards requests and is not among the trusted ones.

use std::net::IpAddr;
use std::sync::OnceLock;

use http::HeaderMap;
use http::header::FORWARDED;

use crate::request::client_address::{FORWARDED_FOR, RequestSource};

/// Remembers the first peer that forwarded requests without being trusted. Behind a load balancer that is nearly always
/// a missing setting: until it is set, all clients count as one.
#[derive(Debug, Default)]
pub(crate) struct UntrustedForwarder {
    first: OnceLock<IpAddr>,
}

impl UntrustedForwarder {
    /// Logs a warning for the first such peer, and only for that one.
    pub(crate) fn notice(&self, source: &RequestSource, headers: &HeaderMap) {
        if source.peer_trusted || self.first.get().is_some() || !is_forwarded(headers) {
            return;
        }
        if self.first.set(source.peer).is_ok() {
            tracing::warn!("{}", warning(source.peer));
        }
    }

    /// The warning for operators, unless the peer is trusted by now.
    pub(crate) fn warning(&self, is_trusted: impl Fn(IpAddr) -> bool) -> Option<String> {
        self.first.get().filter(|address| !is_trusted(**address)).map(|address| warning(*address))
    }
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    // Comparing a few names costs less than two look-ups, which hash.
    headers.keys().any(|name| name == FORWARDED_FOR || name == FORWARDED)
}

fn warning(peer: IpAddr) -> String {
    format!(
        "{peer} sends X-Forwarded-For and is not trusted, so its clients all count as {peer}: if it is your proxy, add \
         it to server.trusted_proxies"
    )
}

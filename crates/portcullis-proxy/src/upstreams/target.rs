//! One address of an upstream, and the connections to it.

use std::time::Duration;

use http::HeaderValue;
use tokio::net::TcpStream;
use url::Url;

use super::connection::Connection;
use super::pool::Pool;
use crate::error::ProxyError;

/// One address of an upstream.
pub(crate) struct Target {
    host: String,
    port: u16,
    /// The value of `Host` in requests to it.
    pub(crate) authority: HeaderValue,
    connect_timeout: Duration,
    pub(crate) pool: Pool,
}

impl Target {
    /// `None` for a URL without host or port, which the settings refuse.
    pub(super) fn new(url: &Url, connect_timeout: Duration) -> Option<Self> {
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default()?;
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        let authority = HeaderValue::try_from(authority).ok()?;
        Some(Self { host, port, authority, connect_timeout, pool: Pool::default() })
    }

    /// A target of tests, on this machine.
    #[cfg(test)]
    pub(crate) fn on_loopback(port: u16) -> Self {
        let url = format!("http://127.0.0.1:{port}").parse().expect("a URL");
        Self::new(&url, Duration::from_secs(5)).expect("a host and a port")
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Connection, ProxyError> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(ProxyError::Connect(error)),
            Err(elapsed) => return Err(ProxyError::Connect(elapsed.into())),
        };
        stream.set_nodelay(true).map_err(ProxyError::Connect)?;
        Ok(Connection::new(stream))
    }
}

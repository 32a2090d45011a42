//! A client that writes exactly the bytes it is told to.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request on a connection of its own.
#[derive(Clone)]
pub(crate) struct Call {
    address: SocketAddr,
    method: String,
    target: String,
    headers: String,
    body: Option<String>,
}

impl Call {
    pub(crate) fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { address, method, target, headers: String::new(), body: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }

    /// Names a second host, which makes the request ambiguous.
    pub(crate) fn second_host(self) -> Self {
        self.header("Host", "elsewhere.example")
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn cookie(self, name: &str, value: &str) -> Self {
        self.header("Cookie", &format!("{name}={value}"))
    }

    /// A body with its `Content-Length`.
    pub(crate) fn body(mut self, kind: &str, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self.header("Content-Type", kind).header("Content-Length", &body.len().to_string())
    }

    pub(crate) async fn send(self) -> Reply {
        let Self { address, method, target, headers, body } = self;
        let body = body.unwrap_or_default();
        let bytes =
            format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n{body}");
        Reply::read(raw(address, bytes.as_bytes()).await)
    }

    /// Sends the request and returns the verdict, in one word or more.
    pub(crate) async fn verdict(self) -> String {
        self.send().await.verdict().to_owned()
    }
}

/// How long a test waits for a connection that the server should have closed.
const DEADLINE: Duration = Duration::from_secs(60);

/// Writes bytes, and reads until the server closes the connection.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.write_all(bytes).await.expect("the server reads");
    let mut response = Vec::new();
    // The response counts even if the connection is reset after it.
    let closed = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut response)).await;
    assert!(closed.is_ok(), "the connection stayed open after {:?}", String::from_utf8_lossy(&response));
    response
}

/// A response as it was received.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn read(bytes: Vec<u8>) -> Self {
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("a response: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self { status: status.expect("a status"), headers, body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns a line in which the server describes what the gate found.
    pub(crate) fn line(&self, name: &str) -> &str {
        let found = self.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("{name} in {self:?}"))
    }

    /// Returns the refusal, `permit` or `preflight`.
    pub(crate) fn verdict(&self) -> &str {
        match self.status {
            200 => "permit",
            204 => "preflight",
            _ => self.line("refusal"),
        }
    }
}

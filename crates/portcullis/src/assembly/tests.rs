//! The whole application behind a real socket, with an endpoint that really panics.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_edge::{ConnectionLimit, ConnectionTimeouts, Server};
use portcullis_model::Random;
use portcullis_settings::{Flags, Settings, Sources, Stored};
use portcullis_telemetry::RequestScope;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use super::Application;

pub(super) const PANIC: &str = "the state of Redis cannot be read";

/// An application on SQLite whose detailed health check panics.
pub(super) struct PanickingApplication {
    pub(super) address: SocketAddr,
    pub(super) application: Application,
    _folder: TempDir,
}

impl PanickingApplication {
    pub(super) async fn start() -> Self {
        Self::start_with("", |_, _| {}).await
    }

    /// Starts with these settings, after `prepare` has changed the parts.
    pub(super) async fn start_with(settings: &str, prepare: impl FnOnce(&mut Application, &Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(folder.path().join("portcullis.toml"), settings).expect("the folder is writable");
        let sources = Sources {
            flags: Flags::default(),
            environment: Vec::new(),
            folder: folder.path().to_owned(),
            stored: Stored::NotAsked,
        };
        let settings = portcullis_settings::load(&sources, &portcullis_api::route_specs()).expect("valid defaults");
        let random = Random::system();
        let secrets = settings.load_or_create_secrets(&random).expect("the folder is writable");
        let lifecycle = Arc::default();
        let building = Box::pin(Application::build(&settings, secrets, random, "http://gate.test", lifecycle));
        let mut application = building.await.expect("SQLite needs nothing else");
        prepare(&mut application, &settings);
        let front = Arc::get_mut(&mut application.front).expect("nothing else runs yet");
        let services = Arc::get_mut(&mut front.services).expect("nothing else runs yet");
        services.shared = Some(Box::new(|| panic!("{PANIC}")));

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound listener has an address");
        let minute = Duration::from_secs(60);
        let server = Server {
            handler: Arc::clone(&application.front),
            connection_limit: ConnectionLimit::new(100, 100, &application.metrics),
            timeouts: ConnectionTimeouts { header: minute, idle: minute, send: minute },
            http2: true,
            proxy_protocol: false,
        };
        tokio::spawn(server.run(listener, CancellationToken::new(), Duration::ZERO));
        Self { address, application, _folder: folder }
    }

    /// Sends requests on one connection, of which the last closes it, and returns all responses.
    pub(super) async fn exchange(&self, requests: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("the server listens");
        stream.write_all(requests.as_bytes()).await.expect("the server reads");
        let mut responses = String::new();
        stream.read_to_string(&mut responses).await.expect("the server closes the connection");
        responses
    }
}

pub(super) const PANICKING: &str = "GET /api/v1/health/detailed HTTP/1.1\r\nHost: a\r\n\r\n";
pub(super) const HEALTHY: &str = "GET /api/v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The body of the first response.
pub(super) fn first_body(responses: &str) -> Value {
    let body = responses.split("\r\n\r\n").nth(1).expect("a body");
    let body = serde_json::Deserializer::from_str(body).into_iter().next().expect("a body");
    body.expect("JSON")
}

#[tokio::test]
async fn a_panic_in_an_endpoint_is_a_500_in_the_envelope() {
    let panicking = PanickingApplication::start().await;
    let responses = panicking.exchange(&format!("{PANICKING}{HEALTHY}")).await;
    let body = first_body(&responses);
    assert!(responses.starts_with("HTTP/1.1 500 "), "{responses}");
    assert_eq!((&body["success"], &body["code"]), (&Value::Bool(false), &Value::from("internal")));
    assert_eq!(body["path"], "/api/v1/health/detailed");
    let id = body["requestId"].as_str().expect("a request id");
    assert!(responses.contains(&format!("x-request-id: {id}")), "{responses}");
    assert!(!responses.contains(PANIC), "the text of the panic must not reach a client: {responses}");
}

#[tokio::test]
async fn after_a_panic_the_same_connection_is_served() {
    let panicking = PanickingApplication::start().await;
    let responses = panicking.exchange(&format!("{PANICKING}{HEALTHY}")).await;
    assert_eq!(responses.matches("HTTP/1.1 200 OK").count(), 1, "{responses}");
}

#[tokio::test]
async fn a_panic_is_counted_with_its_route() {
    let panicking = PanickingApplication::start().await;
    panicking.exchange(&format!("{PANICKING}{HEALTHY}")).await;
    let page = panicking.application.metrics.render(false);
    assert!(page.contains("panics_total 1\n"), "{page}");
    let errors = panicking.application.errors.fetch();
    assert_eq!((errors.len(), errors[0].route.as_deref()), (1, Some("/api/v1/health/detailed")));
    let sample = "http_requests_total{method=\"GET\",route=\"/api/v1/health/detailed\",status_code=\"500\"} 1\n";
    assert!(page.contains(sample), "{page}");
}

/// Collects the log lines of the current thread, each followed by the request id of its scope.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(line.trim_ascii_end());
        writeln!(log, " requestId={:?}", RequestScope::current().request_id())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_panic_is_logged_at_error_with_its_request_id() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let panicking = PanickingApplication::start().await;
    let responses = panicking.exchange(&format!("{PANICKING}{HEALTHY}")).await;
    let body = first_body(&responses);
    let id = body["requestId"].as_str().expect("a request id");
    let log = String::from_utf8(log.0.lock().expect("no panic while locked").clone()).expect("UTF-8");
    let line = log.lines().find(|line| line.contains(PANIC)).unwrap_or_else(|| panic!("no such line: {log}"));
    assert!(line.contains("ERROR") && line.ends_with(&format!("requestId=Some({id:?})")), "{line}");
}

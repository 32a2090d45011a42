//! Panics in the gate, in streams and in tunnels, each behind a real socket.

use std::sync::Arc;

use portcullis_gate::{Gate, GateParts};
use portcullis_model::token::{AccessTokenVerifier, TokenError, VerifiedToken};
use portcullis_model::{Random, SessionSource};
use portcullis_settings::Settings;
use portcullis_telemetry::errors::Occurrences;
use portcullis_testkit::{EventListener, field_text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{Event, Subscriber};

use super::error_writer::ErrorWriter;
use super::tests::{HEALTHY, PANIC, PANICKING, PanickingApplication, first_body};
use super::{Application, gate_config};

/// Verifies no token: it panics.
struct PanickingVerifier;

impl AccessTokenVerifier for PanickingVerifier {
    fn verify(&self, _: &str, _: i64) -> Result<VerifiedToken, TokenError> {
        panic!("{PANIC}")
    }

    fn trust(&self) -> u64 {
        1
    }
}

/// Gives the application a gate that panics when it reads an access token.
fn break_gate(application: &mut Application, settings: &Settings) {
    let random = Random::system();
    let secrets = settings.load_or_create_secrets(&random).expect("the folder is writable");
    let clock = application.store.clock().clone();
    let config = gate_config(settings, &secrets, &application.metrics, &clock).expect("valid settings");
    let parts = GateParts {
        tokens: Arc::new(PanickingVerifier),
        sessions: Arc::clone(&application.sessions) as Arc<dyn SessionSource>,
        shared_limits: None,
        clock,
        random,
        metrics: application.metrics.clone(),
    };
    let front = Arc::get_mut(&mut application.front).expect("nothing else runs yet");
    front.gate = Arc::new(Gate::new(parts, config));
}

fn the_only_error(application: &Application) -> Occurrences {
    let mut errors = application.errors.fetch();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(application.metrics.render(false).contains("panics_total 1\n"));
    errors.remove(0)
}

#[tokio::test]
async fn a_panic_in_the_gate_is_a_500_and_an_error_report() {
    let panicking = PanickingApplication::start_with("", break_gate).await;
    let request = "GET /api/v1/auth/profile HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\n\r\n";
    let responses = panicking.exchange(&format!("{request}{HEALTHY}")).await;
    assert!(responses.starts_with("HTTP/1.1 500 ") && responses.contains("HTTP/1.1 200 OK"), "{responses}");
    let body = first_body(&responses);
    assert_eq!((&body["code"], &body["path"]), (&"internal".into(), &"/api/v1/auth/profile".into()));
    let error = the_only_error(&panicking.application);
    assert_eq!((error.kind.as_str(), error.route.as_deref()), ("panic", Some("/api/v1/auth/profile")));
    assert_eq!(error.last_request_id.as_deref(), body["requestId"].as_str());
    assert!(error.message.starts_with(PANIC), "{error:?}");
}

/// Panics when the proxy logs this message.
fn panics_on(message: &'static str) -> impl Subscriber {
    let panic = move |event: &Event<'_>| assert_ne!(field_text(event, "message"), message, "{PANIC}");
    EventListener::new(|target| target.starts_with("portcullis_proxy"), panic)
}

/// An application with the route `/api/v1/stream` to a new upstream.
async fn with_upstream() -> (PanickingApplication, TcpListener) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = upstream.local_addr().expect("a bound listener has an address");
    let settings = format!(
        "[upstreams.u]\ntargets = [\"http://{address}\"]\n[[routes]]\npath = \"/api/v1/stream\"\nupstream = \"u\"\n\
         auth = \"none\"\n"
    );
    let start = PanickingApplication::start_with(&settings, |application, _| application.errors.report_panics());
    (start.await, upstream)
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(stream.read_u8().await.expect("more follows"));
    }
    String::from_utf8(text).expect("UTF-8")
}

async fn rest_of(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut rest).await;
    String::from_utf8(rest).expect("UTF-8")
}

#[tokio::test]
async fn a_panic_in_a_stream_ends_it_and_is_an_error_report() {
    let _guard = tracing::subscriber::set_default(panics_on("a response was cut off"));
    for media_type in ["text/plain", "text/event-stream"] {
        let (panicking, upstream) = with_upstream().await;
        let mut client = TcpStream::connect(panicking.address).await.expect("the server listens");
        client.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the server reads");
        let (mut sender, _) = upstream.accept().await.expect("the gateway connects");
        read_until(&mut sender, "\r\n\r\n").await;
        let begun = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        );
        sender.write_all(begun.as_bytes()).await.expect("the gateway reads");
        let head = read_until(&mut client, "first\r\n").await;
        drop(sender);
        let rest = rest_of(&mut client).await;
        assert!(!rest.contains("0\r\n\r\n"), "an incomplete response must not look complete: {rest}");
        let error = the_only_error(&panicking.application);
        assert_eq!((error.kind.as_str(), error.route.as_deref()), ("panic", Some("/api/v1/stream")));
        let id = error.last_request_id.expect("a request id");
        assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
        assert!(panicking.exchange(HEALTHY).await.starts_with("HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn a_panic_in_a_tunnel_ends_it_and_is_an_error_report() {
    let _guard = tracing::subscriber::set_default(panics_on("a tunnel was cut off"));
    let (panicking, upstream) = with_upstream().await;
    let mut client = TcpStream::connect(panicking.address).await.expect("the server listens");
    let handshake = "GET /api/v1/stream HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(handshake.as_bytes()).await.expect("the server reads");
    let (mut sender, _) = upstream.accept().await.expect("the gateway connects");
    read_until(&mut sender, "\r\n\r\n").await;
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    sender.write_all(switched.as_bytes()).await.expect("the gateway reads");
    let head = read_until(&mut client, "\r\n\r\n").await;
    client.write_all(b"never read").await.expect("the tunnel is open");
    sender.peek(&mut [0]).await.expect("the tunnel is open");
    // Bytes that were not read make the end a reset.
    drop(sender);
    rest_of(&mut client).await;
    let error = the_only_error(&panicking.application);
    let id = error.last_request_id.expect("a request id");
    assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
    assert!(panicking.exchange(HEALTHY).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn sr_69_an_error_that_cannot_be_written_is_kept() {
    let panicking = PanickingApplication::start().await;
    let Application { store, errors, .. } = &panicking.application;
    store.close().await;
    let responses = panicking.exchange(&format!("{PANICKING}{HEALTHY}")).await;
    assert!(responses.starts_with("HTTP/1.1 500 ") && responses.contains("HTTP/1.1 200 OK"), "{responses}");
    let stopping = CancellationToken::new();
    stopping.cancel();
    let writer = ErrorWriter { errors: errors.clone(), store: store.clone(), release: String::new() };
    writer.run(stopping).await;
    assert_eq!(errors.fetch().iter().map(|error| error.times).sum::<u64>(), 1);
}

//! An edge on a loopback port whose handler does what a request's path names.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use portcullis_edge::{ConnectionLimit, ConnectionTimeouts, Handler, Server};
use portcullis_gate::{HeadFault, Peer};
use portcullis_telemetry::errors::catch_panic_in;
use portcullis_telemetry::{Metrics, MetricsOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a server may keep a connection that it should have closed.
const CLOSE_DEADLINE: Duration = Duration::from_secs(60);

/// A running edge. Dropping it stops the server.
pub(crate) struct TestEdge {
    pub(crate) address: SocketAddr,
    pub(crate) handler: Arc<TestHandler>,
    server: JoinHandle<()>,
    stopping: CancellationToken,
}

impl TestEdge {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts an edge whose server `adjust` has changed.
    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Server<TestHandler>)) -> Self {
        let handler = Arc::<TestHandler>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound listener has an address");
        let minute = Duration::from_secs(60);
        let mut server = Server {
            handler: Arc::clone(&handler),
            connection_limit: ConnectionLimit::new(100, 100, &Metrics::new(&MetricsOptions::default(), "1")),
            timeouts: ConnectionTimeouts { header: minute, idle: minute, send: minute },
            http2: true,
            proxy_protocol: false,
        };
        adjust(&mut server);
        let stopping = CancellationToken::new();
        let server = tokio::spawn(server.run(listener, stopping.clone(), CLOSE_DEADLINE));
        Self { address, handler, server, stopping }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the edge listens")
    }

    /// Tells the server to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.stopping.cancel();
        (&mut self.server).await.expect("the server does not panic");
    }

    /// Tells the server to stop.
    pub(crate) fn begin_stop(&self) {
        self.stopping.cancel();
    }

    /// Whether the server has stopped.
    pub(crate) fn has_stopped(&self) -> bool {
        self.server.is_finished()
    }

    /// Writes bytes and reads until the server closes the connection, which it must.
    pub(crate) async fn exchange(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.expect("the edge reads");
        let mut received = Vec::new();
        // A connection that is reset after the response has still delivered the response.
        let closed = tokio::time::timeout(CLOSE_DEADLINE, stream.read_to_end(&mut received)).await;
        let received = String::from_utf8(received).expect("UTF-8");
        assert!(closed.is_ok(), "the connection stayed open after {received:?}");
        received
    }
}

impl Drop for TestEdge {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// `/echo` returns the request's body, `/count` its length, 400 if it is invalid, `/scheme` returns the client's scheme, `/upgrade` echoes what
/// follows the 101, `/refuse` responds without reading
/// the body, `/endless` responds without an end, `/wait` responds after [`TestHandler::release`], `/panic` panics while the request
/// is handled, `/panic-in-body` after the first part of the response. A faulty head gets a 400 that closes.
#[derive(Default)]
pub(crate) struct TestHandler {
    pub(crate) waiting: Notify,
    pub(crate) release: Notify,
    /// Notified when a `/wait` is over, even without a response.
    pub(crate) dropped: Notify,
    /// Ends the upgraded connections, each with a last word.
    pub(crate) close_tunnels: Arc<Notify>,
    /// The text of each panic that was caught.
    pub(crate) panics: Mutex<Vec<String>>,
    trusted: Mutex<Vec<IpAddr>>,
}

/// The text of the handler's panics.
pub(crate) const PANIC: &str = "this handler panics for a test";

impl Handler for TestHandler {
    type Body = TestBody;

    async fn handle(&self, client: &Peer, request: Request<Incoming>) -> Response<TestBody> {
        catch_panic_in(pin!(self.respond(client, request))).await.unwrap_or_else(|panic| {
            self.panics.lock().expect("no panic while locked").push(panic.message().to_owned());
            text(StatusCode::INTERNAL_SERVER_ERROR, "the handler panicked".to_owned())
        })
    }

    fn respond_to_parse_error(&self, _client: &Peer, status: StatusCode) -> Response<TestBody> {
        closing(text(status, "parse error".to_owned()))
    }

    fn drain_ends(&self) {}

    fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.lock().expect("no panic while locked").contains(&peer)
    }
}

impl TestHandler {
    /// Treats an address as that of a trusted proxy.
    pub(crate) fn trust(&self, address: IpAddr) {
        self.trusted.lock().expect("no panic while locked").push(address);
    }

    async fn respond(&self, client: &Peer, request: Request<Incoming>) -> Response<TestBody> {
        if let Some(fault) = request.extensions().get::<HeadFault>() {
            return closing(text(StatusCode::BAD_REQUEST, format!("{fault:?}")));
        }
        match request.uri().path() {
            "/echo" => {
                let body = request.into_body().collect().await.expect("a complete body").to_bytes();
                text(StatusCode::OK, String::from_utf8_lossy(&body).into_owned())
            }
            "/count" => match request.into_body().collect().await {
                Ok(body) => text(StatusCode::OK, body.to_bytes().len().to_string()),
                Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
            },
            "/refuse" => text(StatusCode::FORBIDDEN, "refused".to_owned()),
            "/read-and-refuse" => {
                request.into_body().collect().await.expect("a complete body");
                text(StatusCode::FORBIDDEN, "refused".to_owned())
            }
            "/endless" => Response::new(TestBody::Endless { has_begun: false }),
            "/wait" => {
                let _noting = NoteDrop(&self.dropped);
                self.waiting.notify_one();
                self.release.notified().await;
                text(StatusCode::OK, "released".to_owned())
            }
            "/scheme" => text(StatusCode::OK, if client.https { "https" } else { "http" }.to_owned()),
            "/upgrade" => {
                let upgrade = hyper::upgrade::on(request);
                let closing = Arc::clone(&self.close_tunnels);
                tokio::spawn(async move {
                    let Ok(upgraded) = upgrade.await else { return };
                    let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                    tokio::select! {
                        _ = tokio::io::copy(&mut from, &mut to) => {}
                        () = closing.notified() => drop(to.write_all(b"bye").await),
                    }
                });
                let mut response = text(StatusCode::SWITCHING_PROTOCOLS, String::new());
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
                response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
                response
            }
            "/panic" => panic!("{PANIC}"),
            "/panic-in-body" => Response::new(TestBody::Panicking { polls: 0 }),
            _ => text(StatusCode::NOT_FOUND, String::new()),
        }
    }
}

/// Notifies when a request's future ends.
struct NoteDrop<'a>(&'a Notify);

impl Drop for NoteDrop<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn text(status: StatusCode, text: String) -> Response<TestBody> {
    let mut response = Response::new(TestBody::Text(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response
}

fn closing(mut response: Response<TestBody>) -> Response<TestBody> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(crate) enum TestBody {
    Text(Full<Bytes>),
    /// Yields one part, is pending once so that the part is sent, and panics.
    Panicking {
        polls: u8,
    },
    /// Yields one part and never another.
    Endless {
        has_begun: bool,
    },
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Text(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Endless { has_begun: true } => Poll::Pending,
            Self::Endless { has_begun } => {
                *has_begun = true;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"first part")))))
            }
            Self::Panicking { polls } => {
                *polls += 1;
                match polls {
                    1 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"first part"))))),
                    2 => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    _ => panic!("{PANIC}"),
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(body) => body.size_hint(),
            Self::Panicking { .. } | Self::Endless { .. } => SizeHint::default(),
        }
    }
}

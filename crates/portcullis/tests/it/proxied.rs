//! Proxied routes: what an upstream is told, what streams through, and what happens when the upstream is missing.
//! This file holds the upstreams and the gateway that these tests share.

mod capacity;
mod failures;
mod headers;
mod policies;
mod routing;
mod stream_rights;
mod streaming;
mod versions;
pub(crate) mod web_sockets;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use portcullis_testkit::{TestApp, free_port};
use serde_json::json;
use tokio::net::TcpListener;

use crate::client::{app, raw};

type Body = BoxBody<Bytes, Infallible>;

const GIB: u64 = 1 << 30;
const CHUNK: usize = 64 * 1024;

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// An upstream on loopback that responds by path. Returns its address and the number of bytes uploaded to it.
pub(crate) async fn upstream() -> (SocketAddr, Arc<AtomicU64>) {
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    (serve(move |request| respond(request, Arc::clone(&counter))).await, received)
}

/// Serves HTTP/1.1 on a free port of loopback until the test ends. Returns the address.
async fn serve<F>(respond: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> SocketAddr
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let respond = respond.clone();
            let service = service_fn(move |request| {
                let response = respond(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn respond(request: Request<Incoming>, received: Arc<AtomicU64>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path.ends_with("/download") {
        let chunk = Bytes::from(vec![7u8; CHUNK]);
        let stream = futures_util::stream::iter(
            std::iter::repeat_n(chunk, usize::try_from(GIB).expect("64-bit") / CHUNK)
                .map(|bytes| Ok(Frame::data(bytes))),
        );
        return Response::new(BodyExt::boxed(StreamBody::new(stream)));
    }
    if path.ends_with("/framed") {
        let mut response = Response::new(full("framed"));
        let policy = hyper::header::HeaderValue::from_static("frame-ancestors https://partner.example");
        response.headers_mut().insert(hyper::header::CONTENT_SECURITY_POLICY, policy);
        return response;
    }
    if path.ends_with("/upload") {
        let mut body = request.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(data) = frame.data_ref() {
                received.fetch_add(data.len() as u64, Ordering::Relaxed);
            }
        }
        return Response::new(full(received.load(Ordering::Relaxed).to_string()));
    }
    if path.ends_with("/never") {
        std::future::pending::<()>().await;
    }
    let headers: serde_json::Map<String, serde_json::Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    let seen = json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": headers,
    });
    let mut response = Response::new(full(seen.to_string()));
    response.headers_mut().append("set-cookie", "portcullis-session=stolen".parse().expect("a value"));
    response.headers_mut().append("set-cookie", "theirs=1".parse().expect("a value"));
    response
}

/// A route for each policy, all to one upstream, and one to an upstream that does not exist.
fn settings(upstream: SocketAddr) -> String {
    let dead = free_port();
    format!(
        r#"
[roles]
DEVELOPER = ["PROJECT_VIEW"]

[upstreams.projects]
targets = ["http://{upstream}"]

[upstreams.dead]
targets = ["http://127.0.0.1:{dead}"]

[[routes]]
path = "/api/v1/projects/{{*rest}}"
upstream = "projects"
auth = "required"
csrf = false
max_body = "0"
strip_prefix = "/api/v1"

[[routes]]
path = "/api/v1/open/{{*rest}}"
upstream = "projects"
auth = "none"
csrf = false
max_body = "1KB"

[[routes]]
path = "/api/v1/impatient/{{*rest}}"
upstream = "projects"
auth = "none"
csrf = false
timeout = "1s"

[[routes]]
path = "/api/v1/managers/{{*rest}}"
upstream = "projects"
roles = ["MANAGER"]

[[routes]]
path = "/api/v1/permitted/{{*rest}}"
upstream = "projects"
permissions = {{ GET = ["PROJECT_VIEW"], PUT = ["USER_DELETE"] }}
csrf = false

[[routes]]
path = "/api/v1/limited/{{*rest}}"
upstream = "projects"
auth = "none"
rate_limit = "3/1h"

[[routes]]
path = "/api/v1/dead/{{*rest}}"
upstream = "dead"
auth = "none"
"#
    )
}

async fn gateway() -> (TestApp, Arc<AtomicU64>) {
    let (address, received) = upstream().await;
    (app().settings(&settings(address)).start(), received)
}

/// Sends a path as it stands: a URL library would resolve dots in it. Returns the response's text.
fn get_raw(app: &TestApp, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
    raw(app, request.as_bytes())
}

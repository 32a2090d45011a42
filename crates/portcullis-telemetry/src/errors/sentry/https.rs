//! Posts bytes to one address, over HTTP or HTTPS.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use sentry_types::{Dsn, Scheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The most bytes of an answer that are read.
const MOST_BYTES: usize = 64 << 10;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The server of a project.
pub(super) struct Https {
    host: String,
    port: u16,
    uri: Uri,
    authority: String,
    authentication: String,
    tls: Option<TlsConnector>,
}

/// What the server answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The seconds that the server wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<u64> {
        self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
    }
}

impl Https {
    pub(super) fn new(dsn: &Dsn) -> Self {
        let url = dsn.envelope_api_url();
        Self {
            host: dsn.host().to_owned(),
            port: dsn.port(),
            uri: url.path().parse().unwrap_or_default(),
            authority: url.port().map_or_else(|| dsn.host().to_owned(), |port| format!("{}:{port}", dsn.host())),
            authentication: dsn.to_auth(Some(concat!("portcullis/", env!("CARGO_PKG_VERSION")))).to_string(),
            tls: (dsn.scheme() == Scheme::Https).then(connector),
        }
    }

    /// Opens a connection, sends the envelope and reads the answer. The caller limits the time.
    pub(super) async fn post(&self, envelope: Vec<u8>) -> Result<Answer, Failure> {
        let stream = TcpStream::connect((self.host.trim_matches(['[', ']']), self.port)).await?;
        match &self.tls {
            None => self.exchange(stream, envelope).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.trim_matches(['[', ']']).to_owned())?;
                self.exchange(tls.connect(name, stream).await?, envelope).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S, envelope: Vec<u8>) -> Result<Answer, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/x-sentry-envelope")
            .header("x-sentry-auth", &self.authentication)
            .body(Full::new(Bytes::from(envelope)))?;
        let answered = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, MOST_BYTES).collect().await?.to_bytes();
            Ok::<_, Failure>(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        // The sender is told how the connection ends.
        let driven = async {
            let _ = connection.await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            answer = answered => answer,
            never = driven => match never {},
        }
    }
}

/// TLS with the system's authorities.
fn connector() -> TlsConnector {
    let config = portcullis_tls::client_config(None).expect("only a file cannot be read");
    TlsConnector::from(Arc::new(config))
}

//! Requests to the store, each over a connection of its own. Redirects are not followed, because the token would go with
//! them.

use std::path::Path;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use portcullis_tls::AuthoritiesError;

/// The most bytes of an answer: a secret has at most 64 KiB in AWS and 1 MiB in Vault.
const MOST_BYTES: usize = 2 << 20;
/// How long a request may take, with connecting and the whole answer.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection could be made, or it broke.
    #[error("{server} cannot be reached: {reason}")]
    Unreachable {
        /// The scheme, host and port.
        server: String,
        /// The innermost cause.
        reason: String,
    },
    /// The whole answer did not come in time.
    #[error("{server} did not answer within {} s", TIMEOUT.as_secs())]
    Slow {
        /// The scheme, host and port.
        server: String,
    },
    /// The answer is longer than any secret.
    #[error("{server} answered with more than {} MiB, so it is not a secret", MOST_BYTES >> 20)]
    TooLarge {
        /// The scheme, host and port.
        server: String,
    },
}

impl RequestError {
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Unreachable { reason, .. } if reason.contains("certificate") => {
                "check the name and the certificate of the server; an authority of your own is named by secrets.vault.authorities, or added to the system's".to_owned()
            }
            Self::Unreachable { .. } => {
                "check the address, that the server runs, and that this machine may connect to it".to_owned()
            }
            Self::Slow { .. } => "check the address, firewalls on the way, and the load of the server".to_owned(),
            Self::TooLarge { .. } => "check the address and the name of the secret".to_owned(),
        }
    }

    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { reason, .. } => !reason.contains("certificate"),
            Self::Slow { .. } => true,
            Self::TooLarge { .. } => false,
        }
    }
}

impl HttpClient {
    /// Makes a client that trusts the authorities in this PEM file, or else those of the system.
    pub(crate) fn new(authorities: Option<&Path>) -> Result<Self, AuthoritiesError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let tls = portcullis_tls::client_config(authorities)?;
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        // Minutes pass between readings, so an idle connection is not worth keeping.
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https.wrap_connector(connector));
        Ok(Self { client, timeout: TIMEOUT })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, RequestError> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("portcullis"));
        let uri = request.uri();
        let server = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or("http"),
            uri.authority().map_or("", http::uri::Authority::as_str)
        );
        match tokio::time::timeout(self.timeout, self.exchange(request, &server)).await {
            Ok(answer) => answer,
            Err(_) => Err(RequestError::Slow { server }),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, server: &str) -> Result<Answer, RequestError> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| RequestError::Unreachable {
            server: server.to_owned(),
            reason: innermost(error),
        };
        let response = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let (head, body) = response.into_parts();
        match Limited::new(body, MOST_BYTES).collect().await {
            Ok(body) => Ok(Answer { status: head.status, body: body.to_bytes() }),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(RequestError::TooLarge { server: server.to_owned() })
            }
            Err(error) => Err(unreachable(error.as_ref())),
        }
    }
}

/// The cause behind the layers of the client, which say the same in more words.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let client = HttpClient { timeout: Duration::from_millis(20), ..HttpClient::new(None).expect("a client") };
        let request = Request::get(&address).body(Full::default()).expect("a request");
        let error = client.send(request).await.expect_err("no answer");
        assert!(matches!(&error, RequestError::Slow { server } if *server == address), "{error}");
        assert!(error.may_pass());
    }
}

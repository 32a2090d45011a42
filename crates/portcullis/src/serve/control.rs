//! A socket in the data folder by which commands of the same machine reach the running gateway. Whoever may open it
//! may do everything: the folder and the socket are its own user's.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_api::{LIMITS_RESET, limits_json, reset_json};
use portcullis_gate::Whom;
use portcullis_identity::Caller;
use portcullis_model::SessionId;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::reload::Asked;
use super::wiring::House;

/// How long a command may take to ask.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers commands.
pub(super) struct Control {
    pub(super) house: Arc<House>,
    pub(super) reload: mpsc::Sender<Asked>,
}

/// The socket, and its file, which goes with it.
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// The socket at `path`, or none: a gateway whose socket cannot be made serves without one.
    pub(super) fn open(path: &Path) -> Option<Self> {
        match listen(path) {
            Ok(socket) => Some(socket),
            // Production with its database elsewhere has no data folder, and none is made for this.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::debug!(path = %path.display(), "there is no folder for the control socket");
                None
            }
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "portcullis reload and portcullis limits cannot reach this process");
                None
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Control {
    /// Answers until `stopping` is cancelled.
    pub(super) async fn run(self, socket: Socket, stopping: CancellationToken) {
        let control = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = socket.listener.accept() => accepted,
                () = stopping.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&control).connection(stream))),
                Err(error) => {
                    tracing::warn!(%error, "a command could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: UnixStream) {
        let service = service_fn(|request| {
            let control = Arc::clone(&self);
            async move { Ok::<_, Infallible>(control.answer(request).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false);
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a command went away");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answer = match (request.method(), request.uri().path()) {
            (&Method::POST, "/reload") => self.reload().await,
            (&Method::GET, "/limits") => self.limits(request.uri().query()).await,
            (&Method::DELETE, "/limits") => self.reset_limits(request.uri().query()).await,
            _ => Err("this version of the gateway does not know the command".to_owned()),
        };
        let (status, body) = match answer {
            Ok(value) => (StatusCode::OK, value),
            Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, json!({ "error": why })),
        };
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        response
    }

    async fn reload(&self) -> Result<Value, String> {
        let gone = || "the gateway is stopping".to_owned();
        let (tell, told) = oneshot::channel();
        self.reload.send(tell).await.map_err(|_| gone())?;
        let reloaded = told.await.map_err(|_| gone())??;
        serde_json::to_value(reloaded).map_err(|error| error.to_string())
    }

    async fn limits(&self, query: Option<&str>) -> Result<Value, String> {
        let whom = self.whom(query).await?;
        Ok(limits_json(&self.house.front.gate, whom).await)
    }

    async fn reset_limits(&self, query: Option<&str>) -> Result<Value, String> {
        let whom = self.whom(query).await?.ok_or("it must be said whose limits")?;
        let name = parameter(query, "name");
        let reset = self.house.front.gate.reset_limits(whom, name.as_deref()).await;
        let details = json!({ "whom": whom.to_string(), "name": name });
        let noted = self.house.identity.note_operation(LIMITS_RESET, None, details, &Caller::shell()).await;
        noted.map_err(|error| format!("the limits were reset, but the audit log could not be written: {error}"))?;
        Ok(reset_json(reset))
    }

    async fn whom(&self, query: Option<&str>) -> Result<Option<Whom>, String> {
        if let Some(address) = parameter(query, "address") {
            let address = address.parse::<IpAddr>().map_err(|_| format!("{address:?} is no IP address"))?;
            return Ok(Some(Whom::Address(address)));
        }
        if let Some(key) = parameter(query, "api-key") {
            let key = key.parse::<SessionId>().map_err(|_| format!("{key:?} is not the id of an API key"))?;
            return Ok(Some(Whom::ApiKey(key)));
        }
        let Some(person) = parameter(query, "user") else { return Ok(None) };
        let found = self.house.identity.id_of(&person).await.map_err(|error| error.to_string())?;
        let id = found.ok_or_else(|| format!("no account has the id or e-mail address {person:?}"))?;
        Ok(Some(Whom::User(id)))
    }
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Listens where nobody else does. The file that a killed process left is taken over.
fn listen(path: &Path) -> io::Result<Socket> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there"));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(Socket { listener, path: path.to_owned() })
}

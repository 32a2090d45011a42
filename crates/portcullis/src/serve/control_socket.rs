//! A socket in the data folder through which commands on the same machine reach the running gateway.
//!
//! It has no authentication of its own: every process that can open it can use every command. So the folder and the socket belong
//! to the process's user alone.

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
use portcullis_api::{LIMITS_RESET, RateLimits, RateLimitsReset};
use portcullis_gate::RateLimitKey;
use portcullis_identity::{Actor, Caller};
use portcullis_model::SessionId;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::log_level::LogLevel;
use super::reload::ReloadRequest;
use crate::assembly::Application;

/// How long a command may take to send its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time for which a command changes the log level.
const LONGEST_CHANGE: Duration = Duration::from_secs(366 * 24 * 3600);
/// Pause before accepting again after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the commands that arrive on the socket.
pub(super) struct ControlServer {
    pub(super) application: Arc<Application>,
    pub(super) reload: mpsc::Sender<ReloadRequest>,
    pub(super) log_level: Arc<LogLevel>,
}

/// The listening socket. Dropping it removes its file.
pub(super) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Opens the socket at `path`. Without one the gateway serves all the same, so an error is only logged.
    pub(super) fn open(path: &Path) -> Option<Self> {
        match listen(path) {
            Ok(socket) => Some(socket),
            // In production with an external database there is no data folder, and none is made for the socket.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::debug!(path = %path.display(), "the control socket was not opened, because its folder does not exist");
                None
            }
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "the control socket could not be opened; portcullis reload, limits and log-level cannot reach this process");
                None
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl ControlServer {
    /// Serves until `stopping` is cancelled.
    pub(super) async fn run(self, socket: ControlSocket, stopping: CancellationToken) {
        let server = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = socket.listener.accept() => accepted,
                () = stopping.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&server).serve_connection(stream))),
                Err(error) => {
                    tracing::warn!(%error, "a connection to the control socket could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: UnixStream) {
        let sender = sender(&stream);
        let service = service_fn(|request| {
            let (server, sender) = (Arc::clone(&self), &sender);
            async move { Ok::<_, Infallible>(server.respond(request, sender).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection to the control socket ended with an error");
        }
    }

    async fn respond(&self, request: Request<Incoming>, sender: &str) -> Response<Full<Bytes>> {
        let outcome =
            match (request.method(), request.uri().path()) {
                (&Method::POST, "/reload") => self.reload().await,
                (&Method::GET, "/limits") => self.limits(request.uri().query()).await,
                (&Method::DELETE, "/limits") => self.reset_limits(request.uri().query()).await,
                (&Method::GET, "/metrics") => Ok(Value::String(self.application.metrics.render(false))),
                (&Method::GET, "/log-level") => to_json(&self.log_level.in_force()),
                (&Method::POST, "/log-level") => self.change_log_level(request.uri().query(), sender),
                (&Method::DELETE, "/log-level") => to_json(&self.log_level.reset(&by(sender))),
                _ => Err("the running gateway does not know this command; it is of another version than this program"
                    .to_owned()),
            };
        let (status, body) = match outcome {
            Ok(value) => (StatusCode::OK, value),
            Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, json!({ "error": why })),
        };
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        response
    }

    async fn reload(&self) -> Result<Value, String> {
        let stopping = || "the gateway is stopping".to_owned();
        let (request, outcome) = oneshot::channel();
        self.reload.send(request).await.map_err(|_| stopping())?;
        let reloaded = outcome.await.map_err(|_| stopping())??;
        to_json(&reloaded)
    }

    async fn limits(&self, query: Option<&str>) -> Result<Value, String> {
        let key = self.key(query).await?;
        to_json(&RateLimits::read(&self.application.front.gate, key).await)
    }

    async fn reset_limits(&self, query: Option<&str>) -> Result<Value, String> {
        let key = self.key(query).await?.ok_or("specify --address, --user or --api-key")?;
        let name = parameter(query, "name");
        let reset = self.application.front.gate.reset_rate_limits(key, name.as_deref()).await;
        let details = json!({ "whom": key.describe(), "name": name });
        let noted = self
            .application
            .identity
            .administration
            .record_operation(LIMITS_RESET, &Actor::Shell, details, &Caller::shell())
            .await;
        noted.map_err(|error| format!("the limits were reset, but the audit log could not be written: {error}"))?;
        to_json(&RateLimitsReset::from(reset))
    }

    fn change_log_level(&self, query: Option<&str>, sender: &str) -> Result<Value, String> {
        let filter = parameter(query, "filter").ok_or("specify a level")?;
        let filter = portcullis_settings::parse_log_filter(&filter).map_err(|reason| reason.to_string())?;
        let seconds = parameter(query, "seconds").map(|seconds| seconds.parse().map_err(|_| "specify whole seconds"));
        let time = seconds.transpose()?.map(Duration::from_secs).map(|time| time.min(LONGEST_CHANGE));
        to_json(&self.log_level.change(filter, time, &by(sender)))
    }

    async fn key(&self, query: Option<&str>) -> Result<Option<RateLimitKey>, String> {
        if let Some(address) = parameter(query, "address") {
            let address = address.parse::<IpAddr>().map_err(|_| format!("{address:?} is not an IP address"))?;
            return Ok(Some(RateLimitKey::address(address)));
        }
        if let Some(key) = parameter(query, "api-key") {
            let key = key.parse::<SessionId>().map_err(|_| format!("{key:?} is not the id of an API key"))?;
            return Ok(Some(RateLimitKey::ApiKey(key)));
        }
        let Some(user) = parameter(query, "user") else { return Ok(None) };
        let found = self.application.identity.administration.find(&user).await.map_err(|error| error.to_string())?;
        let user = found.ok_or_else(|| {
            format!("no user has the id or e-mail address {user:?}; hint: portcullis users list shows all users")
        })?;
        Ok(Some(RateLimitKey::User(user.id)))
    }
}

/// Who sent a command, for the log.
fn by(sender: &str) -> String {
    format!("portcullis log-level, {sender}")
}

/// The process at the other end, as the kernel names it.
fn sender(stream: &UnixStream) -> String {
    let Ok(peer) = stream.peer_cred() else { return "an unknown process".to_owned() };
    let process = peer.pid().map_or_else(|| "an unknown process".to_owned(), |pid| format!("process {pid}"));
    format!("{process}, user {}", peer.uid())
}

fn to_json(value: &impl serde::Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Listens at `path` unless another process does. A file left by a killed process is replaced.
fn listen(path: &Path) -> io::Result<ControlSocket> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(ControlSocket { listener, path: path.to_owned() })
}

//! Upgraded connections (WebSocket, RFC 6455). Bytes are copied both ways once the upstream has switched protocols, and not
//! one before (SR-38).

mod frames;

use std::io::{self, Cursor};
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use http::Response;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use portcullis_gate::{StreamGuard, asks_for_web_socket};
use portcullis_telemetry::RequestScope;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::body::ProxyBody;
use crate::http1::{Exchange, RequestHead, ResponseHead};
use frames::{CloseReason, Frames};

/// The most bytes that are copied at once.
const BUFFER: usize = 8 * 1024;
/// The longest time until an ended tunnel has sent its last frame. It is short, because an ended session must not go on.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The only protocol that a connection may switch to.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Takes the client's upgrade, if the request asks to switch to WebSocket.
pub(crate) fn take_upgrade(parts: &mut Parts) -> Option<OnUpgrade> {
    // The gate's own rule: what it does not take for a handshake, it has not checked the origin of.
    if asks_for_web_socket(&parts.headers) { parts.extensions.remove::<OnUpgrade>() } else { None }
}

/// Adds the fields that ask the upstream to switch.
pub(crate) fn add_upgrade_fields(head: &mut RequestHead) {
    head.field(&CONNECTION, &HeaderValue::from_static("upgrade"));
    head.field(&UPGRADE, &WEBSOCKET);
}

/// Opens the tunnel after the upstream has switched, and returns the response for the client.
pub(crate) fn open(exchange: Exchange, head: ResponseHead, client: OnUpgrade, end: TunnelEnd) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::empty());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, head.upgrade.unwrap_or(WEBSOCKET));
    tokio::spawn(RequestScope::current().wrap(run(client, exchange, end)));
    response
}

/// Copies both ways until one side ends. If the gateway ends the tunnel, each side gets a close frame.
async fn run(client: OnUpgrade, upstream: Exchange, end: TunnelEnd) {
    let client = match client.await {
        Ok(client) => client,
        Err(error) => {
            tracing::debug!(%error, "a tunnel could not be opened");
            return;
        }
    };
    // Counts the tunnel until it ends.
    let (upstream, early, _hold) = upstream.into_tunnel();
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_upstream, to_upstream) = upstream.into_split();
    // Both directions wait for the same event.
    let ended = end.reached().shared();
    let from_upstream = Cursor::new(early).chain(from_upstream);
    let down = copy(from_upstream, to_client, ended.clone(), |reason| reason.to_client().to_vec());
    let up = copy(from_client, to_upstream, ended, |reason| reason.to_upstream().to_vec());
    if let Err(error) = tokio::try_join!(down, up) {
        tracing::debug!(%error, "a tunnel was cut off");
    }
}

/// The events at which the gateway ends a tunnel.
pub(crate) struct TunnelEnd {
    pub(crate) session: Option<StreamGuard>,
    pub(crate) stopping: CancellationToken,
}

impl TunnelEnd {
    async fn reached(self) -> CloseReason {
        let session = async {
            match &self.session {
                Some(guard) => guard.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = session => CloseReason::PolicyViolation,
            () = self.stopping.cancelled() => CloseReason::GoingAway,
        }
    }
}

/// Copies one way. If the gateway ends the tunnel, it finishes the current frame and sends a close frame.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    ended: impl Future<Output = CloseReason>,
    close_frame: impl FnOnce(CloseReason) -> Vec<u8>,
) -> io::Result<()> {
    let mut ended = pin!(ended);
    let mut frames = Frames::default();
    let mut buffer = vec![0; BUFFER];
    let reason = loop {
        tokio::select! {
            biased;
            reason = ended.as_mut() => break reason,
            read = from.read(&mut buffer) => {
                let read = read?;
                if read == 0 {
                    return to.shutdown().await;
                }
                to.write_all(&buffer[..read]).await?;
                frames.follow(&buffer[..read]);
            }
        }
    };
    let finishing = async {
        while !frames.is_between() {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            to.write_all(&buffer[..read]).await?;
            frames.follow(&buffer[..read]);
        }
        if frames.may_close() {
            to.write_all(&close_frame(reason)).await?;
        }
        to.shutdown().await
    };
    // A peer that never ends its frame, or does not read, is cut off.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, finishing).await;
    Ok(())
}

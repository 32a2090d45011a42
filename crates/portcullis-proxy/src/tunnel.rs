//! Upgraded connections (WebSocket, RFC 6455): bytes both ways once the
//! upstream has agreed, and not a byte before (requirement 38).

use std::io::{self, Cursor};
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use http::Response;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use portcullis_gate::StreamGuard;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::body::ProxyBody;
use crate::http1::{Answer, Exchange, RequestHead};
use crate::websocket::{Close, Frames};

/// Bytes that are copied at once.
const BUFFER: usize = 8 * 1024;
/// How long an ended tunnel may take for its last frame. Short, because a session that ended must reach nobody.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The only protocol that is switched to.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The client's connection, once it may be switched, if a request wants it to become a WebSocket.
pub(crate) fn wanted(parts: &mut Parts) -> Option<OnUpgrade> {
    let asks = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")))
    };
    let protocol = parts.headers.get(UPGRADE)?;
    let wanted = protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes())
        && parts.headers.get_all(CONNECTION).iter().any(asks);
    if wanted { parts.extensions.remove::<OnUpgrade>() } else { None }
}

/// Asks an upstream to switch.
pub(crate) fn ask(head: &mut RequestHead) {
    head.field(&CONNECTION, &HeaderValue::from_static("upgrade"));
    head.field(&UPGRADE, &WEBSOCKET);
}

/// Joins the client's connection with the upstream's, once that has agreed to switch; its answer.
pub(crate) fn open(exchange: Exchange, answer: Answer, client: OnUpgrade, ending: Ending) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::empty());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, answer.upgrade.unwrap_or(WEBSOCKET));
    tokio::spawn(join(client, exchange, ending));
    response
}

/// Copies both ways until one side ends, or the gateway does: then each side is told so by a close frame.
async fn join(client: OnUpgrade, upstream: Exchange, ending: Ending) {
    let client = match client.await {
        Ok(client) => client,
        Err(error) => {
            tracing::debug!(%error, "a tunnel could not be opened");
            return;
        }
    };
    let (upstream, early) = upstream.into_stream();
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_upstream, to_upstream) = upstream.into_split();
    // Told once, to both directions.
    let ended = ending.ended().shared();
    let from_upstream = Cursor::new(early).chain(from_upstream);
    let down = pump(from_upstream, to_client, ended.clone(), |close| close.to_client().to_vec());
    let up = pump(from_client, to_upstream, ended, |close| close.to_upstream().to_vec());
    if let Err(error) = tokio::try_join!(down, up) {
        tracing::debug!(%error, "a tunnel was cut");
    }
}

/// When the gateway ends a tunnel, and why.
pub(crate) struct Ending {
    pub(crate) session: Option<StreamGuard>,
    pub(crate) stopping: CancellationToken,
}

impl Ending {
    async fn ended(self) -> Close {
        let session = async {
            match &self.session {
                Some(guard) => guard.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = session => Close::PolicyViolation,
            () = self.stopping.cancelled() => Close::GoingAway,
        }
    }
}

/// Copies one way. At the gateway's end it goes on to the end of the frame under way, but not for long.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    ended: impl Future<Output = Close>,
    last_words: impl FnOnce(Close) -> Vec<u8>,
) -> io::Result<()> {
    let mut ended = pin!(ended);
    let mut frames = Frames::default();
    let mut buffer = vec![0; BUFFER];
    let close = loop {
        tokio::select! {
            biased;
            close = ended.as_mut() => break close,
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
            to.write_all(&last_words(close)).await?;
        }
        to.shutdown().await
    };
    // A peer that never ends its frame, or does not read, is cut.
    let _ = tokio::time::timeout(LAST_WORDS, finishing).await;
    Ok(())
}

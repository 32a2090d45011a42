//! Upgraded connections (WebSocket, RFC 6455): bytes both ways once the
//! upstream has agreed, and not a byte before (requirement 38).

use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use portcullis_gate::{InboundBody, StreamGuard};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::body::{Live, ProxyBody};
use crate::error::ProxyError;
use crate::headers::from_upstream;
use crate::pool::Connection;
use crate::websocket::{Close, Frames};

/// Bytes that are copied at once.
const BUFFER: usize = 8 * 1024;
/// How long an ended tunnel may take for its last frame. Short, because a session that ended must reach nobody.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The protocol a request wants to switch to.
pub(crate) fn wanted(headers: &HeaderMap) -> Option<HeaderValue> {
    let upgrade = headers.get(UPGRADE)?;
    let asks = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")))
    };
    let websocket = upgrade.as_bytes().eq_ignore_ascii_case(b"websocket");
    (websocket && headers.get_all(CONNECTION).iter().any(asks)).then(|| upgrade.clone())
}

/// Asks the upstream to switch on a connection that carried nothing before, and
/// joins the two connections once it has.
pub(crate) async fn open(
    mut request: Request<InboundBody>,
    protocol: &HeaderValue,
    connection: Connection,
    ending: Ending,
) -> Result<Response<ProxyBody>, ProxyError> {
    let client = hyper::upgrade::on(&mut request);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    request.headers_mut().insert(UPGRADE, protocol.clone());
    let (mut sender, driver) = connection.into_upgradeable();
    // A tunnel outlives its request, so its connection has a task of its own.
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "an upgraded connection ended");
        }
    });
    let mut response = sender.send_request(request).await.map_err(ProxyError::from_exchange)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(refused(response, sender, ending.session));
    }
    let upstream = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    let agreed = parts.headers.get(UPGRADE).cloned();
    from_upstream(&mut parts.headers);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, agreed.unwrap_or_else(|| protocol.clone()));
    tokio::spawn(join(client, upstream, ending));
    Ok(Response::from_parts(parts, ProxyBody::empty()))
}

/// The upstream answered in plain HTTP: its answer passes through, and ends with
/// the session like any other. Else asking for an upgrade would hide a stream.
fn refused(
    response: Response<Incoming>,
    sender: SendRequest<InboundBody>,
    live: Option<StreamGuard>,
) -> Response<ProxyBody> {
    let (mut parts, body) = response.into_parts();
    from_upstream(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, ProxyBody::driven_elsewhere(body, sender, live.map(Live::new)))
}

/// Copies both ways until one side ends, or the gateway does: then each side is told so by a close frame.
async fn join(client: OnUpgrade, upstream: OnUpgrade, ending: Ending) {
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a tunnel could not be opened");
            return;
        }
    };
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_upstream, to_upstream) = tokio::io::split(TokioIo::new(upstream));
    // Told once, to both directions.
    let ended = ending.ended().shared();
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

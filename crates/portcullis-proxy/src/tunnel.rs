//! Upgraded connections (WebSocket, RFC 6455): bytes both ways once the
//! upstream has agreed, and not a byte before (requirement 38).

use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use portcullis_gate::{InboundBody, StreamGuard};
use tokio::io::copy_bidirectional;

use crate::body::{Live, ProxyBody};
use crate::error::ProxyError;
use crate::headers::from_upstream;
use crate::pool::Connection;

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
    live: Option<StreamGuard>,
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
        return Ok(refused(response, sender, live));
    }
    let upstream = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    let agreed = parts.headers.get(UPGRADE).cloned();
    from_upstream(&mut parts.headers);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, agreed.unwrap_or_else(|| protocol.clone()));
    tokio::spawn(join(client, upstream, live));
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

/// Copies both ways until one side ends, or the session does.
async fn join(client: OnUpgrade, upstream: OnUpgrade, live: Option<StreamGuard>) {
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a tunnel could not be opened");
            return;
        }
    };
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    let copying = copy_bidirectional(&mut client, &mut upstream);
    let ended = match &live {
        Some(guard) => {
            tokio::select! {
                copied = copying => copied,
                () = guard.closed() => return,
            }
        }
        None => copying.await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a tunnel was cut");
    }
}

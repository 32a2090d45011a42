//! `Idempotency-Key`: what must not be done twice is done once, however often it is sent
//! (draft-ietf-httpapi-idempotency-key-header, requirement 48).
//!
//! A key belongs to whoever sent it, person or API key, and to one endpoint. What it led to is kept for a day without
//! any credential. What was refused led to nothing: it may be sent again, mended, with the same key.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use portcullis_model::secret::sha256;
use portcullis_storage::Claim;

use crate::endpoint::Endpoint;
use crate::{Call, Fault, Reply};

/// The header.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// On an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// Does what the endpoint does unless it was done, or is being done, under the request's key.
pub(crate) async fn answer(endpoint: &'static Endpoint, mut call: Call) -> Result<Reply, Fault> {
    let id = identify(endpoint, &call)?;
    let body = call.gather().await?;
    let path = call.permit.path().as_bytes();
    let request = sha256(&[endpoint.method.as_str().as_bytes(), b"\0", path, b"\0", &body].concat());
    let services = Arc::clone(&call.services);
    match services.store.claim_request(&id, &request, services.clock.now()).await? {
        Claim::Theirs { request: theirs, .. } if theirs != request => Err(Fault::idempotency_key_reused()),
        Claim::Theirs { answer: None, .. } => Err(Fault::idempotency_in_progress()),
        Claim::Theirs { answer: Some(kept), .. } => {
            let kept = serde_json::from_str(&kept).ok().and_then(|kept| Reply::stored(&kept));
            let reply = kept.ok_or_else(Fault::unavailable)?;
            Ok(reply.header(REPLAYED, HeaderValue::from_static("true")).private())
        }
        Claim::Mine(claimed) => {
            // A task of its own: a client that goes away must not leave it half-done.
            let doing = tokio::spawn(async move {
                let outcome = endpoint.handle(call).await;
                let noted = match outcome.as_ref().ok().and_then(Reply::storable) {
                    Some(kept) => services.store.complete_request(&id, claimed, &kept.to_string()).await,
                    None => services.store.release_request(&id, claimed).await,
                };
                if let Err(error) = noted {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "what became of an Idempotency-Key could not be kept");
                }
                outcome
            });
            doing.await.unwrap_or_else(|_panicked| Err(Fault::unavailable()))
        }
    }
}

/// Whose key it is, for what: a person's are not their API keys', because those may be allowed less.
fn identify(endpoint: &Endpoint, call: &Call) -> Result<[u8; 32], Fault> {
    let mut keys = call.headers.get_all(&KEY).iter();
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) => key.as_bytes(),
        _ => return Err(Fault::bad_idempotency_key()),
    };
    if key.is_empty() || key.len() > MAX_KEY || !key.iter().all(u8::is_ascii_graphic) {
        return Err(Fault::bad_idempotency_key());
    }
    let session = &call.principal().session;
    let whose = if session.is_signed_in() { session.user_id.to_string() } else { session.id.to_string() };
    let what = format!("{whose}\0{} {}\0", endpoint.method, endpoint.template);
    Ok(sha256(&[what.as_bytes(), key].concat()))
}

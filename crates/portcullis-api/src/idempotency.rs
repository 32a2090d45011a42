//! `Idempotency-Key`: a request that is sent several times takes effect once
//! (draft-ietf-httpapi-idempotency-key-header, SR-48).
//!
//! A key belongs to the principal that sent it and to one endpoint; the same text sent to another endpoint is another
//! key. The transaction that does the work records its outcome for a day. A refused request records nothing, so that it
//! may be corrected and sent again with the same key.

use http::{HeaderName, Method};
use portcullis_model::secret::sha256;
use portcullis_storage::IdempotencyKey;

use crate::error::ErrorKind;
use crate::{ApiError, Call};

/// The request header with the client's key.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// Reads the key of a request to an endpoint and notes it in the call, together with a hash of the request that it names.
pub(crate) async fn read_key(method: &Method, template: &str, call: &mut Call) -> Result<(), ApiError> {
    let id = identify(method, template, call)?;
    let body = call.gather().await?;
    let path = call.permit.path().as_bytes();
    let request = sha256(&[method.as_str().as_bytes(), b"\0", path, b"\0", &body].concat());
    call.set_idempotency_key(IdempotencyKey { id, request });
    Ok(())
}

/// Hashes the key with its owner and its endpoint. An API key owns its idempotency keys itself, because it may be allowed
/// less than its user; so does each session of the demo account, because all visitors share that account.
fn identify(method: &Method, template: &str, call: &Call) -> Result<[u8; 32], ApiError> {
    let mut keys = call.headers.get_all(&KEY).iter();
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) => key.as_bytes(),
        _ => return Err(ErrorKind::IDEMPOTENCY_KEY_INVALID.into()),
    };
    if key.is_empty() || key.len() > MAX_KEY || !key.iter().all(u8::is_ascii_graphic) {
        return Err(ErrorKind::IDEMPOTENCY_KEY_INVALID.into());
    }
    let session = call.session();
    let owned_by_user = session.is_signed_in() && !session.is_demo();
    let owner = if owned_by_user { session.user_id.to_string() } else { session.id.to_string() };
    let scope = format!("{owner}\0{method} {template}\0");
    Ok(sha256(&[scope.as_bytes(), key].concat()))
}

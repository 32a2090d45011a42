//! `Idempotency-Key`: what must not be done twice is done once, however often it is sent
//! (draft-ietf-httpapi-idempotency-key-header, requirement 48).
//!
//! A key belongs to whoever sent it, person or API key, and to one endpoint: sent to another one it is another key.
//! What came of it is kept for a day, by the transaction that did it. What was refused came to nothing: it may be sent
//! again, mended, with the same key.

use http::HeaderName;
use portcullis_model::secret::sha256;
use portcullis_storage::OnceKey;

use crate::endpoint::Endpoint;
use crate::{Call, Fault};

/// The header.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// On an answer to what was done before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// Reads the client's name for a request to `endpoint`, and what it is a name for.
pub(crate) async fn name(endpoint: &Endpoint, call: &mut Call) -> Result<(), Fault> {
    let id = identify(endpoint, call)?;
    let body = call.gather().await?;
    let path = call.permit.path().as_bytes();
    let request = sha256(&[endpoint.method.as_str().as_bytes(), b"\0", path, b"\0", &body].concat());
    call.set_once(OnceKey { id, request });
    Ok(())
}

/// Whose key it is, for what: a person's are not their API keys', because those may be allowed less, and not another
/// visitor's of the demo, because those share one account.
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
    let own_account = session.is_signed_in() && !session.demo;
    let whose = if own_account { session.user_id.to_string() } else { session.id.to_string() };
    let what = format!("{whose}\0{} {}\0", endpoint.method, endpoint.template);
    Ok(sha256(&[what.as_bytes(), key].concat()))
}

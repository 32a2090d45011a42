//! The cookies of a session: set at a sign-in by cookie and at a refresh, deleted at sign-out.

use portcullis_gate::CookieName;
use portcullis_identity::IssuedTokens;

use crate::{Call, Reply};

/// Adds the session cookie and the refresh cookie.
pub(crate) fn set_session<T>(call: &Call, reply: Reply<T>, tokens: &IssuedTokens) -> Reply<T> {
    let set = |name: CookieName, value: &str| {
        call.cookies().set(call.services.gate.cookie_name(name), value, Some(tokens.refresh_expires_in))
    };
    reply
        .cookie(set(CookieName::Session, tokens.access.expose()))
        .cookie(set(CookieName::Refresh, tokens.refresh.expose()))
}

/// Deletes cookies in the browser.
pub(crate) fn clear<T>(call: &Call, reply: Reply<T>, names: &[CookieName]) -> Reply<T> {
    names.iter().fold(reply, |reply, name| reply.cookie(call.cookies().clear(call.services.gate.cookie_name(*name))))
}

//! Sessions of the demo account, kept in memory under the rules of stored ones:
//! an idle and an absolute end (SR-21), rotation with a grace window
//! (SR-32).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_model::{SecretString, SessionId, Timestamp};

use crate::refresh_token::{PresentedToken, RefreshTokens};

/// The live ones.
#[derive(Default)]
pub(crate) struct DemoSessions(Mutex<HashMap<SessionId, Live>>);

/// One session.
pub(crate) struct Live {
    /// SHA-256 of the refresh token in force.
    pub(crate) refresh_hash: [u8; 32],
    /// When the person signed in.
    pub(crate) began: Timestamp,
    /// When it ends without a refresh.
    pub(crate) idle_until: Timestamp,
    /// When it ends whatever happens.
    pub(crate) until: Timestamp,
    /// Tokens whose successor is still given out.
    pub(crate) rotated: Vec<Rotated>,
}

/// A token that was replaced a moment ago.
pub(crate) struct Rotated {
    hash: [u8; 32],
    successor: SecretString,
    at: Timestamp,
}

/// What became of a refresh.
pub(crate) enum Exchange {
    /// This token takes the place of the presented one.
    Successor(SecretString),
    /// One of ours that was replaced long ago: the session was ended.
    Reused,
    /// No token of a live session.
    Unknown,
}

impl Live {
    /// When it ends if nothing happens.
    pub(crate) fn ends(&self) -> Timestamp {
        self.idle_until.min(self.until)
    }

    /// Whether a token is in force, or was within the grace window.
    pub(crate) fn knows(&self, presented: &PresentedToken, now: Timestamp, grace: Duration) -> bool {
        let lately = |old: &Rotated| old.hash == presented.hash && now <= old.at + grace;
        self.refresh_hash == presented.hash || self.rotated.iter().any(lately)
    }
}

impl DemoSessions {
    /// The sessions that live at `now`. Whoever shows one to the gate, or takes
    /// it away, holds this meanwhile: a refresh must not bring back what a
    /// logout has ended.
    pub(crate) fn live(&self, now: Timestamp) -> MutexGuard<'_, HashMap<SessionId, Live>> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| now < session.ends());
        sessions
    }
}

/// Exchanges a presented token for its successor.
pub(crate) fn exchange(
    session: &mut Live,
    presented: &PresentedToken,
    tokens: &RefreshTokens,
    now: Timestamp,
    (idle, grace): (Duration, Duration),
) -> Exchange {
    session.rotated.retain(|old| now <= old.at + grace);
    if session.refresh_hash == presented.hash {
        let (successor, hash) = tokens.make(presented.session);
        session.rotated.push(Rotated { hash: presented.hash, successor: successor.clone(), at: now });
        session.refresh_hash = hash;
        session.idle_until = now + idle;
        return Exchange::Successor(successor);
    }
    match session.rotated.iter().find(|old| old.hash == presented.hash) {
        Some(old) => Exchange::Successor(old.successor.clone()),
        None if presented.ours => Exchange::Reused,
        None => Exchange::Unknown,
    }
}

//! Starting sessions and issuing their tokens: the pair that a sign-in, a registration and a refresh return.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::session::Transport;
use portcullis_model::{Amr, Clock, Random, SecretString, SessionId, Timestamp, User};
use portcullis_storage::NewSession;

use crate::audit::Caller;
use crate::refresh_token::RefreshTokens;
use crate::signing_keys::access_token::{Claims, TokenKeys};

/// The user epoch in which every user starts.
pub(crate) const FIRST_EPOCH: i64 = 1;

/// An access token and the refresh token of the same session.
#[derive(Clone, Debug)]
pub struct IssuedTokens {
    /// The access token, a JWT.
    pub access: SecretString,
    /// The refresh token, opaque to clients.
    pub refresh: SecretString,
    /// Lifetime of the access token in seconds.
    pub expires_in: u64,
    /// Lifetime of an unused refresh token in seconds.
    pub refresh_expires_in: u64,
    /// The session of both tokens.
    pub session_id: SessionId,
}

/// How long tokens and sessions live.
#[derive(Clone, Copy, Debug)]
pub struct SessionLifetimes {
    /// Lifetime of an access token (`JWT_EXPIRES_IN`).
    pub access: Duration,
    /// Idle limit: a session ends when it is not refreshed for this long (`JWT_REFRESH_EXPIRES_IN`).
    pub refresh_idle: Duration,
    /// Absolute limit of a session, however often it is refreshed.
    pub absolute: Duration,
    /// Absolute limit of a session that was started with `rememberMe`.
    pub absolute_remember: Duration,
    /// The most live sessions of one user (`session.max_per_user`).
    pub max_per_user: u64,
}

/// What a new session is made from.
#[derive(Clone, Copy)]
pub(crate) struct SessionStart<'a> {
    pub(crate) user: &'a User,
    pub(crate) remember: bool,
    pub(crate) transport: Transport,
    /// The user's epoch, which the caller checks again in the transaction that stores the session.
    pub(crate) epoch: i64,
    /// The methods that authenticated the user, in the order of their use.
    pub(crate) amr: &'a [Amr],
    pub(crate) caller: &'a Caller,
}

/// What the claims of an access token are made from.
pub(crate) struct TokenSubject<'a> {
    pub(crate) user: &'a User,
    pub(crate) session: SessionId,
    /// The user's epoch, claim `ver`.
    pub(crate) epoch: i64,
    /// The methods of the session.
    pub(crate) amr: &'a [Amr],
}

/// Makes sessions and their tokens.
#[derive(Clone)]
pub(crate) struct SessionIssuer {
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) keys: Arc<TokenKeys>,
    pub(crate) refresh_tokens: Arc<RefreshTokens>,
    pub(crate) lifetimes: SessionLifetimes,
}

impl SessionIssuer {
    /// Makes the row of a new session, and its refresh token.
    pub(crate) fn start(&self, start: SessionStart<'_>, now: Timestamp) -> (NewSession, SecretString) {
        let SessionStart { user, remember, transport, epoch, amr, caller } = start;
        let id = SessionId::new(&self.clock, &self.random);
        let (refresh, refresh_hash) = self.refresh_tokens.make(id);
        let lifetimes = &self.lifetimes;
        let absolute = if remember { lifetimes.absolute_remember } else { lifetimes.absolute };
        let session = NewSession {
            id,
            user_id: user.id,
            refresh_hash,
            created_at: now,
            idle_expires_at: now + lifetimes.refresh_idle,
            absolute_expires_at: now + absolute,
            remember,
            transport,
            ip: caller.ip,
            user_agent: caller.user_agent(),
            amr: amr.to_vec(),
            user_epoch: epoch,
        };
        (session, refresh)
    }

    /// A signed access token beside the session's refresh token.
    pub(crate) fn tokens(&self, subject: &TokenSubject<'_>, refresh: SecretString) -> IssuedTokens {
        let now = self.clock.unix_seconds();
        let lifetime = self.lifetimes.access.as_secs();
        let claims = Claims {
            iss: self.keys.issuer().to_owned(),
            aud: self.keys.audience().to_owned(),
            sub: subject.user.id,
            sid: subject.session,
            jti: self.random.hex::<16>(),
            iat: now,
            nbf: now,
            exp: now.saturating_add_unsigned(lifetime),
            ver: subject.epoch,
            amr: subject.amr.to_vec(),
            role: subject.user.role.to_string(),
            user_id: subject.user.id,
            email: subject.user.email.to_string(),
        };
        IssuedTokens {
            access: self.keys.sign(&claims, self.clock.now()),
            refresh,
            expires_in: lifetime,
            refresh_expires_in: self.lifetimes.refresh_idle.as_secs(),
            session_id: subject.session,
        }
    }
}

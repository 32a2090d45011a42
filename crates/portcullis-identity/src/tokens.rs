//! Making the pair of tokens that a sign-in or a refresh answers with.

use portcullis_model::session::Transport;
use portcullis_model::{Role, SecretString, SessionId, Timestamp, User};
use portcullis_storage::NewSession;

use crate::access_token::Claims;
use crate::audit::Caller;
use crate::identity::Parts;

/// An access token and the refresh token that goes with it.
#[derive(Clone, Debug)]
pub struct IssuedTokens {
    /// The JWT.
    pub access: SecretString,
    /// The opaque token.
    pub refresh: SecretString,
    /// How long the access token lives, in seconds.
    pub expires_in: u64,
    /// How long the refresh token lives without use, in seconds.
    pub refresh_expires_in: u64,
    /// The session both belong to.
    pub session_id: SessionId,
}

/// Whose access token is made, and in which epoch.
pub(crate) struct Subject<'a> {
    pub(crate) user: &'a User,
    pub(crate) role: Role,
    pub(crate) session: SessionId,
    pub(crate) ver: i64,
    pub(crate) amr: &'a [String],
    pub(crate) demo: bool,
}

/// How a session begins.
pub(crate) struct Beginning<'a> {
    pub(crate) user: &'a User,
    pub(crate) remember: bool,
    pub(crate) by_cookie: bool,
    pub(crate) amr: Vec<String>,
    pub(crate) caller: &'a Caller,
}

impl Parts {
    /// A new session's row and the refresh token that opens it.
    pub(crate) fn begin_session(&self, beginning: Beginning<'_>, now: Timestamp) -> (NewSession, SecretString) {
        let Beginning { user, remember, by_cookie, amr, caller } = beginning;
        let id = SessionId::new(&self.clock, &self.random);
        let (refresh, refresh_hash) = self.refresh_tokens.make(id);
        let absolute = if remember { self.options.absolute_remember } else { self.options.absolute };
        let session = NewSession {
            id,
            user_id: user.id,
            refresh_hash,
            created_at: now,
            idle_expires_at: now + self.options.refresh_idle,
            absolute_expires_at: now + absolute,
            remember,
            transport: if by_cookie { Transport::Cookie } else { Transport::Token },
            ip: caller.ip,
            user_agent: caller.user_agent(),
            amr,
        };
        (session, refresh)
    }

    /// Signs an access token and puts it beside its refresh token.
    pub(crate) fn issue(&self, subject: &Subject<'_>, refresh: SecretString) -> IssuedTokens {
        let now = self.clock.unix_seconds();
        let lifetime = self.options.access_ttl.as_secs();
        let claims = Claims {
            iss: self.keys.issuer().to_owned(),
            aud: self.keys.audience().to_owned(),
            sub: subject.user.id,
            sid: subject.session,
            jti: self.random.hex::<16>(),
            iat: now,
            nbf: now,
            exp: now.saturating_add_unsigned(lifetime),
            ver: subject.ver,
            amr: subject.amr.to_vec(),
            role: subject.role.to_string(),
            user_id: subject.user.id,
            email: subject.user.email.to_string(),
            demo: subject.demo,
        };
        IssuedTokens {
            access: self.keys.sign(&claims, self.clock.now()),
            refresh,
            expires_in: lifetime,
            refresh_expires_in: self.options.refresh_idle.as_secs(),
            session_id: subject.session,
        }
    }
}

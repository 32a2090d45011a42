//! Credentials: the ones a request presents, and the principal they belong to (SR-30, SR-31, SR-41).

use std::sync::Arc;

use portcullis_model::SessionState;

pub(crate) mod classifier;
mod invalid;
pub(crate) mod presented;
pub(crate) mod verified_tokens;

/// The authenticated caller: the credential was valid when the request was classified.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The session, with the role and permissions in force.
    pub session: Arc<SessionState>,
    /// The kind of credential that the request presented.
    pub kind: CredentialKind,
    /// The SHA-256 of the API key, if it is one, by which it is looked up again.
    pub(crate) key: Option<[u8; 32]>,
}

/// A kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// An access token in `Authorization: Bearer`.
    Bearer,
    /// An access token in the session cookie.
    Cookie,
    /// An API key, in `X-API-Key` or as a bearer token.
    ApiKey,
}

/// The result of classification. It refuses nothing by itself: that is up to the route's policy.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// The request presents none.
    None,
    /// The request presents two kinds.
    Ambiguous,
    Invalid,
    /// The request presents an API key whose owner has not confirmed the e-mail address (SR-51).
    Unconfirmed,
    /// The session cannot be looked up at the moment.
    Undecided,
    Valid(Principal),
}

impl Credential {
    pub(crate) fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Valid(principal) => Some(principal),
            Self::None | Self::Ambiguous | Self::Invalid | Self::Unconfirmed | Self::Undecided => None,
        }
    }

    pub(crate) fn session(&self) -> Option<&SessionState> {
        self.principal().map(|principal| &*principal.session)
    }

    pub(crate) fn is_api_key(&self) -> bool {
        self.principal().is_some_and(|principal| principal.kind == CredentialKind::ApiKey)
    }
}

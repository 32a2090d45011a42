//! Why an upstream gave no answer. Knows no HTTP status.

use portcullis_gate::BodyError;

use crate::http1::Broken;

/// What went wrong between us and an upstream.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The route names an upstream that the data plane does not have.
    #[error("there is no upstream {0:?}")]
    UnknownUpstream(String),
    /// No target accepts connections.
    #[error("no target of the upstream accepts connections")]
    Connect(#[source] std::io::Error),
    /// The answer did not begin in the route's time.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The upstream broke off or spoke something that is not HTTP.
    #[error("the upstream broke the connection")]
    Broken(#[from] Broken),
    /// The upstream switched protocols without being asked to.
    #[error("the upstream switched protocols without being asked to")]
    UnexpectedUpgrade,
    /// The request's target cannot be written for an upstream.
    #[error("the request target is not valid for the upstream")]
    Target,
    /// The client's body is larger than the route allows.
    #[error("the request body is larger than the route allows")]
    BodyTooLarge,
    /// The client paused for too long within its body.
    #[error("the request body did not come in time")]
    BodyTooSlow,
    /// The client's body broke off.
    #[error("the request body was cut")]
    ClientBody,
    /// The session ended while the request was under way.
    #[error("the session ended")]
    SessionEnded,
}

impl From<BodyError> for ProxyError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::BodyTooLarge,
            BodyError::TooSlow => Self::BodyTooSlow,
            BodyError::Transport(_) => Self::ClientBody,
        }
    }
}

impl ProxyError {
    /// The error type of `Proxy-Status` (RFC 9209 §2.3).
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::UnknownUpstream(_) => "destination_not_found",
            Self::Connect(_) => "connection_refused",
            Self::Timeout => "http_response_timeout",
            Self::Broken(_) => "connection_terminated",
            Self::UnexpectedUpgrade => "http_upgrade_failed",
            Self::Target | Self::ClientBody | Self::BodyTooLarge | Self::BodyTooSlow => "http_request_error",
            Self::SessionEnded => "http_request_denied",
        }
    }

    /// The outcome's name in metrics.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::UnknownUpstream(_) | Self::Connect(_) => Outcome::Unreachable,
            Self::Timeout => Outcome::Timeout,
            Self::Broken(_) | Self::UnexpectedUpgrade => Outcome::Broken,
            Self::Target | Self::BodyTooLarge | Self::BodyTooSlow | Self::ClientBody | Self::SessionEnded => {
                Outcome::Client
            }
        }
    }
}

/// How an exchange with an upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Unreachable,
    Timeout,
    Broken,
    Client,
}

impl Outcome {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Answered, "answered"),
        (Self::Unreachable, "unreachable"),
        (Self::Timeout, "timeout"),
        (Self::Broken, "broken"),
        (Self::Client, "client"),
    ];
}

//! The failures of a request to an upstream. They know no HTTP status: the API maps them.

use portcullis_gate::BodyError;
use portcullis_telemetry::QueueRefusal;

use crate::upstreams::ConnectError;

/// The reason why a request got no response from its upstream.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The route names an upstream that is not in the settings.
    #[error("there is no upstream {0:?}")]
    UnknownUpstream(String),
    /// No target accepts connections.
    #[error("no target of the upstream accepts connections")]
    Connect(#[source] ConnectError),
    /// Every target has as many requests, connections or streams as it may have, and as many requests wait as may wait, or
    /// this one waited for as long as it may.
    #[error("the upstream has too many requests already")]
    Overloaded(QueueRefusal),
    /// The upstream did not take the next bytes of the request within the route's timeout.
    #[error("the upstream did not take the request in time")]
    WriteTimeout,
    /// The response did not begin within the route's timeout after the end of the request.
    #[error("the upstream did not respond in time")]
    ResponseTimeout,
    /// The upstream paused for too long within the response.
    #[error("the upstream paused for too long within its response")]
    BodyTimeout,
    /// The upstream broke the connection or the rules of HTTP/1.1.
    #[error("the upstream broke the connection")]
    Broken(#[from] UpstreamFault),
    /// The upstream switched protocols without being asked to.
    #[error("the upstream switched protocols without being asked to")]
    UnexpectedUpgrade,
    /// The request's path or query has a character that a request line cannot have.
    #[error("the request target is not valid for the upstream")]
    Target,
    /// The client's body is larger than the route allows.
    #[error("the request body is larger than the route allows")]
    BodyTooLarge,
    /// The client paused for too long while it sent its body.
    #[error("the request body did not arrive in time")]
    BodyTooSlow,
    /// The client's body ended early.
    #[error("the request body was cut off")]
    ClientBody,
    /// The session ended while the request was being forwarded.
    #[error("the session ended")]
    SessionEnded,
    /// The caller lost the right to use the route while the request was being forwarded.
    #[error("the right to use the route was lost")]
    RightLost,
    /// Whether the caller may still use the route could not be found out while the request was being forwarded.
    #[error("the right to use the route could not be confirmed")]
    Unconfirmed,
}

/// The way in which an upstream broke HTTP/1.1 or its connection.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamFault {
    /// The connection ended before the response began.
    #[error("it closed the connection before it responded")]
    Closed,
    /// The connection ended within the response.
    #[error("it closed the connection before its response was complete")]
    Incomplete,
    /// Bytes arrived on a kept connection before the request was written.
    #[error("it sent bytes that no request asked for")]
    Unrequested,
    /// Too many interim responses arrived.
    #[error("it sent too many interim responses")]
    Interim,
    /// Reading from or writing to the connection failed.
    #[error("the connection to it failed")]
    Connection(#[source] std::io::Error),
    /// The response's head is not HTTP/1.1.
    #[error("its response does not begin with an HTTP/1.1 head")]
    Head(#[source] httparse::Error),
    /// The response's head is larger than 64 KiB.
    #[error("its response's head is too large")]
    HeadTooLarge,
    /// A header field has an invalid name or value.
    #[error("its response has an invalid header field")]
    Field,
    /// The end of the body is ambiguous, which would allow response smuggling.
    #[error("the end of its response is ambiguous: {0}")]
    Framing(&'static str),
    /// The chunked transfer coding is malformed.
    #[error("its response's chunks cannot be read")]
    Chunk,
}

impl UpstreamFault {
    /// Whether the connection broke, rather than the upstream the rules of HTTP/1.1.
    pub(crate) fn is_broken_connection(&self) -> bool {
        match self {
            Self::Closed | Self::Incomplete | Self::Unrequested | Self::Connection(_) => true,
            Self::Interim | Self::Head(_) | Self::HeadTooLarge | Self::Field | Self::Framing(_) | Self::Chunk => false,
        }
    }

    /// The error type of `Proxy-Status` (RFC 9209 §2.3).
    fn proxy_status(&self) -> &'static str {
        match self {
            Self::Closed | Self::Unrequested | Self::Connection(_) => "connection_terminated",
            Self::Incomplete => "http_response_incomplete",
            Self::Head(httparse::Error::TooManyHeaders) | Self::HeadTooLarge => "http_response_header_section_size",
            Self::Interim | Self::Head(_) | Self::Field | Self::Framing(_) | Self::Chunk => "http_protocol_error",
        }
    }
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
            Self::Connect(error) => error.proxy_status(),
            Self::Overloaded(_) => "connection_limit_reached",
            Self::WriteTimeout => "connection_write_timeout",
            Self::ResponseTimeout => "http_response_timeout",
            Self::BodyTimeout => "connection_read_timeout",
            Self::Broken(fault) => fault.proxy_status(),
            Self::UnexpectedUpgrade => "http_upgrade_failed",
            Self::Target | Self::ClientBody | Self::BodyTooLarge | Self::BodyTooSlow => "http_request_error",
            Self::SessionEnded | Self::RightLost | Self::Unconfirmed => "http_request_denied",
        }
    }

    /// The outcome under which metrics count this failure.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::UnknownUpstream(_) | Self::Connect(_) => Outcome::Unreachable,
            Self::Overloaded(_) => Outcome::Refused,
            Self::WriteTimeout | Self::ResponseTimeout | Self::BodyTimeout => Outcome::Timeout,
            Self::Broken(_) | Self::UnexpectedUpgrade => Outcome::Broken,
            Self::Target | Self::BodyTooLarge | Self::BodyTooSlow | Self::ClientBody => Outcome::Client,
            Self::SessionEnded | Self::RightLost | Self::Unconfirmed => Outcome::Client,
        }
    }
}

/// How a request to an upstream ended, as metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Unreachable,
    Timeout,
    Broken,
    /// It has too many requests already, which is no fault of a target.
    Refused,
    Client,
}

impl Outcome {
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Answered, "answered"),
        (Self::Unreachable, "unreachable"),
        (Self::Timeout, "timeout"),
        (Self::Broken, "broken"),
        (Self::Refused, "refused"),
        (Self::Client, "client"),
    ];
}

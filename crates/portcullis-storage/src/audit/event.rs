//! The events of the audit log, and the lines that are read back.

use std::net::IpAddr;

use portcullis_model::{SessionId, Timestamp, UserId};
use uuid::Uuid;

use crate::engine::columns::columns;
use crate::engine::stored_types::stored_by_name;

/// Whether an action succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The action was done.
    Success,
    /// The action was refused or failed.
    Failure,
}

impl Outcome {
    /// Returns the name that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl std::str::FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Success, Self::Failure].into_iter().find(|outcome| outcome.as_str() == text).ok_or(UnknownOutcome)
    }
}

stored_by_name!(Outcome);

/// The text is not the name of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an outcome is success or failure")]
pub struct UnknownOutcome;

/// An event to be appended. It holds no secret (SR-36).
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// When the event happened.
    pub at: Timestamp,
    /// The action: words joined by full stops (`auth.login`).
    pub action: &'static str,
    /// Whether the action succeeded.
    pub outcome: Outcome,
    /// The user who acted, if known.
    pub actor_id: Option<UserId>,
    /// The user that the action concerns.
    pub subject_id: Option<UserId>,
    /// The session in which the user acted.
    pub session_id: Option<SessionId>,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The client's `User-Agent` header, stored without control characters and cut to 512 characters.
    pub user_agent: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// Further facts about the event.
    pub details: Option<serde_json::Value>,
}

/// A line of the log.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// The line's id.
    pub id: Uuid,
    /// When the event happened first.
    pub at: Timestamp,
    /// The action, such as `auth.login`.
    pub action: String,
    /// The outcome: `success` or `failure`.
    pub outcome: String,
    /// The user who acted, if known.
    pub actor_id: Option<UserId>,
    /// The user that the action concerns.
    pub subject_id: Option<UserId>,
    /// The session in which the user acted.
    pub session_id: Option<SessionId>,
    /// The client's address; `None` also when the line stands for many addresses.
    pub ip: Option<String>,
    /// The client's `User-Agent` header.
    pub user_agent: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// Further facts about the event.
    pub details: Option<serde_json::Value>,
    /// How often the event happened within a minute.
    pub times: u64,
    /// When the event happened last, if it happened more than once.
    pub last_at: Option<Timestamp>,
}

columns! {
    AuditRecord reads audit_log {
        id, at, action, outcome, actor_id, subject_id, session_id, ip, user_agent, request_id, details, times, last_at,
    }
}

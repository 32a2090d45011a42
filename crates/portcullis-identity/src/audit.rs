//! Who asked, and what the audit log says about it (requirement 36).

use std::net::IpAddr;

use portcullis_model::{SessionId, Timestamp, UserId};
use portcullis_storage::{AuditEvent, Outcome};
use serde_json::Value;

/// Where a call comes from.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The client's address; `None` for the command line.
    pub ip: Option<IpAddr>,
    /// The `User-Agent`.
    pub user_agent: Option<String>,
    /// Our request id.
    pub request_id: Option<String>,
}

/// The longest user agent that is kept, in characters.
const MAX_USER_AGENT: usize = 512;

impl Caller {
    /// Somebody at the machine's own shell.
    pub fn shell() -> Self {
        Self { ip: None, user_agent: Some("portcullis (command line)".to_owned()), request_id: None }
    }

    /// The user agent, cut, and without anything that could start a new line in a log.
    pub(crate) fn user_agent(&self) -> Option<String> {
        let clean = |text: &String| text.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect();
        self.user_agent.as_ref().map(clean)
    }

    pub(crate) fn event(&self, action: &'static str, outcome: Outcome, at: Timestamp) -> AuditEvent {
        AuditEvent {
            at,
            action,
            outcome,
            actor_id: None,
            subject_id: None,
            session_id: None,
            ip: self.ip,
            user_agent: self.user_agent(),
            request_id: self.request_id.clone(),
            details: None,
        }
    }

    /// Something done to no account in particular, or to many at once.
    pub(crate) fn bulk_event(&self, action: &'static str, at: Timestamp, details: Value) -> AuditEvent {
        AuditEvent { details: Some(details), ..self.event(action, Outcome::Success, at) }
    }

    /// Something done with the keys that sign.
    pub(crate) fn key_event(&self, action: &'static str, at: Timestamp, kid: &str) -> AuditEvent {
        let details = Value::from(serde_json::Map::from_iter([("kid".to_owned(), Value::from(kid))]));
        self.bulk_event(action, at, details)
    }

    pub(crate) fn success(
        &self,
        action: &'static str,
        at: Timestamp,
        user: UserId,
        session: Option<SessionId>,
    ) -> AuditEvent {
        AuditEvent {
            actor_id: Some(user),
            subject_id: Some(user),
            session_id: session,
            ..self.event(action, Outcome::Success, at)
        }
    }

    pub(crate) fn failure(
        &self,
        action: &'static str,
        at: Timestamp,
        user: Option<UserId>,
        reason: &str,
    ) -> AuditEvent {
        let details = Value::from(serde_json::Map::from_iter([("reason".to_owned(), Value::from(reason))]));
        AuditEvent { subject_id: user, details: Some(details), ..self.event(action, Outcome::Failure, at) }
    }
}

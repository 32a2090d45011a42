//! The caller of a use case, and the audit events about it (SR-36).

use std::net::IpAddr;

use portcullis_model::{ClientNetwork, SessionId, Timestamp, UserId};
use portcullis_storage::{AuditEvent, Outcome};
use serde_json::Value;

use crate::hashing::fair_queue::HashingParty;

/// The client that a use case runs for.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The client's address; `None` for the command line.
    pub ip: Option<IpAddr>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// The id that we gave the request.
    pub request_id: Option<String>,
}

/// The longest stored user agent, in characters.
const MAX_USER_AGENT: usize = 512;

impl Caller {
    /// The command line on the machine itself.
    pub fn shell() -> Self {
        Self { ip: None, user_agent: Some("portcullis (command line)".to_owned()), request_id: None }
    }

    /// The user agent, shortened and without control characters, which could forge log lines.
    pub(crate) fn user_agent(&self) -> Option<String> {
        let clean = |text: &String| text.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect();
        self.user_agent.as_ref().map(clean)
    }

    /// The party for whom this client's passwords are hashed. `user` is the one whom the request authenticates.
    pub(crate) fn hashing_party(&self, user: Option<UserId>) -> HashingParty {
        HashingParty { client: self.ip.map(ClientNetwork::from), user }
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

    /// A success that concerns no single user.
    pub(crate) fn bulk_event(&self, action: &'static str, at: Timestamp, details: Value) -> AuditEvent {
        AuditEvent { details: Some(details), ..self.event(action, Outcome::Success, at) }
    }

    /// A success that concerns the signing keys.
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

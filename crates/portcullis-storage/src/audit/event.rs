//! The audit log: who did what, from where, and whether it was allowed (SR-36).

use std::net::IpAddr;

use crate::engine::value::Value;
use portcullis_model::ids::new_uuid;
use portcullis_model::{SessionId, Timestamp, UserId};
use uuid::Uuid;

use super::aggregation::{self, AggregationKey};
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Runs, Sql};
use crate::engine::stored_text;
use crate::store::{Access, Database};

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused.
    Failure,
}

impl Outcome {
    /// The name in the database.
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

/// The text is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an outcome is success or failure")]
pub struct UnknownOutcome;

/// Something to be noted. Holds no secret.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// What: words of ours joined by dots (`auth.login`).
    pub action: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// Who did it, when that is known.
    pub actor_id: Option<UserId>,
    /// Whose account it concerns.
    pub subject_id: Option<UserId>,
    /// In which session.
    pub session_id: Option<SessionId>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// By which program; cut to 512 characters, control characters dropped.
    pub user_agent: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// More about it.
    pub details: Option<serde_json::Value>,
}

/// A line of the log.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// Its id.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// What.
    pub action: String,
    /// `success` or `failure`.
    pub outcome: String,
    /// Who did it.
    pub actor_id: Option<UserId>,
    /// Whose account it concerns.
    pub subject_id: Option<UserId>,
    /// In which session.
    pub session_id: Option<SessionId>,
    /// From where.
    pub ip: Option<String>,
    /// By which program.
    pub user_agent: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// More about it.
    pub details: Option<serde_json::Value>,
    /// How often it happened within a minute.
    pub times: u64,
    /// When it happened last, if more than once.
    pub last_at: Option<Timestamp>,
}

static INSERT: Sql = Sql::insert(
    "audit_log",
    "INSERT INTO audit_log (id, at, action, outcome, actor_id, subject_id, session_id, ip, user_agent, request_id, \
     details, gathered_as) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
     ON CONFLICT (gathered_as) DO UPDATE SET times = audit_log.times + 1, last_at = excluded.at",
);

fn values(id: Uuid, event: &AuditEvent, aggregation: Option<AggregationKey>) -> Vec<Value> {
    let hides_address = aggregation.as_ref().is_some_and(|key| key.hides_address);
    vec![
        id.into(),
        event.at.into(),
        event.action.into(),
        event.outcome.as_str().into(),
        event.actor_id.map(|id| id.0).into(),
        event.subject_id.map(|id| id.0).into(),
        event.session_id.map(|id| id.0).into(),
        event.ip.filter(|_| !hides_address).map(|ip| ip.to_string()).into(),
        event.user_agent.as_deref().map(stored_text::user_agent).into(),
        event.request_id.clone().into(),
        event.details.as_ref().map(ToString::to_string).into(),
        aggregation.map(|key| key.sha256.to_vec()).into(),
    ]
}

pub(crate) fn read(row: &Row) -> Result<AuditRecord, StoreError> {
    let details: Option<String> = row.get("details")?;
    let details = details.map(|text| serde_json::from_str(&text)).transpose();
    Ok(AuditRecord {
        id: row.get("id")?,
        at: row.time("at")?,
        action: row.get("action")?,
        outcome: row.get("outcome")?,
        actor_id: row.get::<Option<Uuid>>("actor_id")?.map(UserId),
        subject_id: row.get::<Option<Uuid>>("subject_id")?.map(UserId),
        session_id: row.get::<Option<Uuid>>("session_id")?.map(SessionId),
        ip: row.get("ip")?,
        user_agent: row.get("user_agent")?,
        request_id: row.get("request_id")?,
        details: details.map_err(|error| StoreError::corrupt(format!("details: {error}")))?,
        times: row.count("times")?,
        last_at: row.optional_time("last_at")?,
    })
}

impl<A: Access> Database<A> {
    /// Appends an event. In a transaction it is kept together with the change that it tells of, or not at all.
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let shared = self.shared();
        let id = new_uuid(&shared.clock, &shared.random);
        let is_failure = event.outcome == Outcome::Failure;
        let aggregation = is_failure.then(|| aggregation::key(&shared.audit_addresses, event));
        self.execute(&INSERT, values(id, event, aggregation)).await.map(|_| ())
    }
}

//! The audit log: who did what, from where, and whether it was allowed (SR-36).

use std::net::IpAddr;

use crate::value::Value;
use portcullis_model::ids::new_uuid;
use portcullis_model::{SessionId, Timestamp, UserId};
use uuid::Uuid;

use crate::audit_gathering::Gathered;
use crate::error::StoreError;
use crate::row::Row;
use crate::sessions::storable_user_agent;
use crate::statement::{Runs, Sql};
use crate::store::Store;
use crate::tx::Tx;

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

/// The values of a line, under which name repetitions of it are gathered.
fn values(id: Uuid, event: &AuditEvent, gathered: Option<Gathered>) -> Vec<Value> {
    let without_address = gathered.as_ref().is_some_and(|gathered| gathered.without_address);
    vec![
        id.into(),
        event.at.into(),
        event.action.into(),
        event.outcome.as_str().into(),
        event.actor_id.map(|id| id.0).into(),
        event.subject_id.map(|id| id.0).into(),
        event.session_id.map(|id| id.0).into(),
        event.ip.filter(|_| !without_address).map(|ip| ip.to_string()).into(),
        event.user_agent.as_deref().map(storable_user_agent).into(),
        event.request_id.clone().into(),
        event.details.as_ref().map(ToString::to_string).into(),
        gathered.map(|gathered| gathered.name.to_vec()).into(),
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

impl Store {
    /// Notes something that changed nothing, such as a refused sign-in.
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        append(self, self, event).await
    }
}

impl Tx {
    /// Notes a change beside the change itself: they are kept together or not at all.
    pub async fn append_audit(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        append(self, &self.store, event).await
    }
}

async fn append(on: &impl Runs, store: &Store, event: &AuditEvent) -> Result<(), StoreError> {
    let id = new_uuid(&store.inner.clock, &store.inner.random);
    let gathered = (event.outcome == Outcome::Failure).then(|| store.inner.gathering.name(event));
    on.execute(&INSERT, values(id, event, gathered)).await.map(|_| ())
}

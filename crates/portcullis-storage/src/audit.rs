//! The audit log: who did what, from where, and whether it was allowed (SR-36).

use std::net::IpAddr;

use crate::value::Value;
use portcullis_model::ids::new_uuid;
use portcullis_model::{SessionId, Timestamp, UserId};
use uuid::Uuid;

use crate::error::StoreError;
use crate::row::Row;
use crate::sessions::storable_user_agent;
use crate::statement::{Runs, Sql};
use crate::store::Store;
use crate::tx::Tx;
use crate::users::as_bigint;

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
}

static INSERT: Sql = Sql::insert(
    "audit_log",
    "INSERT INTO audit_log (id, at, action, outcome, actor_id, subject_id, session_id, ip, user_agent, request_id, \
     details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
);
static PAGE: Sql = Sql::select(
    "audit_log",
    "SELECT id, at, action, outcome, actor_id, subject_id, session_id, ip, user_agent, request_id, details \
     FROM audit_log ORDER BY at DESC, id DESC LIMIT $1 OFFSET $2",
);

fn values(id: Uuid, event: &AuditEvent) -> Vec<Value> {
    vec![
        id.into(),
        event.at.into(),
        event.action.into(),
        event.outcome.as_str().into(),
        event.actor_id.map(|id| id.0).into(),
        event.subject_id.map(|id| id.0).into(),
        event.session_id.map(|id| id.0).into(),
        event.ip.map(|ip| ip.to_string()).into(),
        event.user_agent.as_deref().map(storable_user_agent).into(),
        event.request_id.clone().into(),
        event.details.as_ref().map(ToString::to_string).into(),
    ]
}

fn read(row: &Row) -> Result<AuditRecord, StoreError> {
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
    })
}

impl Store {
    /// Notes something that changed nothing, such as a refused sign-in.
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let id = new_uuid(&self.inner.clock, &self.inner.random);
        self.execute(&INSERT, values(id, event)).await.map(|_| ())
    }

    /// The log, newest first.
    pub async fn audit_records(&self, limit: u64, offset: u64) -> Result<Vec<AuditRecord>, StoreError> {
        self.all(&PAGE, vec![as_bigint(limit), as_bigint(offset)]).await?.iter().map(read).collect()
    }
}

impl Tx {
    /// Notes a change beside the change itself: they are kept together or not at all.
    pub async fn append_audit(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        let id = new_uuid(&self.store.inner.clock, &self.store.inner.random);
        self.execute(&INSERT, values(id, event)).await.map(|_| ())
    }
}

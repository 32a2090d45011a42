//! The audit log (`docs/contract.md`, "Users, audit log and API keys").

use http::header::ACCEPT;
use portcullis_model::{ApiTime, SessionId, UserId};
use portcullis_storage::{AuditFilter, AuditRecord, Outcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::input::{Cursor, Page, PageNumber, PageSize, Pagination, Parsed, Query};
use crate::operation::{Example, Operation, Tag, example_of};
use crate::{ApiError, Call, Reply};

pub(crate) const LIST: Operation =
    Operation::new("auditLogs", Tag::Audit, "List the audit log, newest first", "Audit logs retrieved successfully")
        .description("With `Accept: application/x-ndjson` one entry a line, without the envelope.");

const NDJSON: &str = "application/x-ndjson";

/// Which entries to list.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditQuery {
    /// The number of the page.
    page: Option<Parsed<PageNumber>>,
    /// Entries on a page.
    limit: Option<Parsed<PageSize>>,
    /// Instead of a page: `pagination.next` of the page before. Pages past row 100,000 are found by it only.
    cursor: Option<Parsed<Cursor>>,
    /// Only entries about this user, as the actor or as the subject.
    user_id: Option<Parsed<UserId>>,
    /// Only this action.
    action: Option<String>,
    /// Only this outcome.
    outcome: Option<Parsed<Outcome>>,
    /// Only entries from this time on.
    from: Option<ApiTime>,
    /// Only entries before this time.
    to: Option<ApiTime>,
}

/// A page of the audit log.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditLogs {
    audit_logs: Vec<AuditEntry>,
    pagination: Pagination,
}

/// One entry of the audit log, as the API and exports show it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    id: uuid::Uuid,
    timestamp: ApiTime,
    action: String,
    #[schemars(with = "Parsed<Outcome>")]
    outcome: String,
    /// The user who acted.
    user_id: Option<UserId>,
    /// The user whose account it concerns.
    subject_id: Option<UserId>,
    session_id: Option<SessionId>,
    ip: Option<String>,
    user_agent: Option<String>,
    request_id: Option<String>,
    details: Value,
    /// How many times it happened; repetitions within a minute are one entry.
    times: u64,
    /// When it happened last, if more than once.
    last_at: Option<ApiTime>,
}

impl From<AuditRecord> for AuditEntry {
    fn from(record: AuditRecord) -> Self {
        Self {
            id: record.id,
            timestamp: ApiTime(record.at),
            action: record.action,
            outcome: record.outcome,
            user_id: record.actor_id,
            subject_id: record.subject_id,
            session_id: record.session_id,
            ip: record.ip,
            user_agent: record.user_agent,
            request_id: record.request_id,
            details: record.details.unwrap_or_default(),
            times: record.times,
            last_at: record.last_at.map(ApiTime),
        }
    }
}

impl Example for AuditLogs {
    fn example() -> Value {
        json!({
            "auditLogs": [{
                "id": "0198c0de-0000-7000-8000-000000000004",
                "timestamp": "2026-11-24T09:00:00.000Z",
                "action": "login",
                "outcome": "success",
                "userId": "0198c0de-0000-7000-8000-000000000001",
                "subjectId": "0198c0de-0000-7000-8000-000000000001",
                "sessionId": "0198c0de-0000-7000-8000-000000000003",
                "ip": "203.0.113.7",
                "userAgent": "Firefox",
                "requestId": "3a2f2ffb7b57d1e1c5165e72af440175",
                "details": null,
                "times": 1,
                "lastAt": null,
            }],
            "pagination": example_of(&Pagination::EXAMPLE),
        })
    }
}

/// `GET /api/v1/audit-logs`
pub(crate) async fn list(call: Call, Query(query): Query<AuditQuery>) -> Result<Reply<AuditLogs>, ApiError> {
    let AuditQuery { page, limit, cursor, user_id, action, outcome, from, to } = query;
    let page = Page::new(page, limit, cursor)?;
    let filter = AuditFilter {
        user: user_id.map(|user| user.0),
        action,
        outcome: outcome.map(|outcome| outcome.0),
        from: from.map(|from| from.0),
        to: to.map(|to| to.0),
    };
    let found = call.services.store.audit_from(&filter, page.limit, page.start()).await?;
    let last = found.records.last().filter(|_| found.has_more).map(|record| (record.at, record.id));
    let entries = found.records.into_iter().map(AuditEntry::from);
    if call.headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(NDJSON.as_bytes())) {
        let lines: String = entries.map(|entry| format!("{}\n", example_of(&entry))).collect();
        return Ok(Reply::without_envelope(NDJSON, lines).private());
    }
    Ok(LIST.reply(&AuditLogs { audit_logs: entries.collect(), pagination: page.of(found.total, last) }).private())
}

//! The audit log (contract §4).

use http::header::ACCEPT;
use portcullis_model::{UserId, user::rfc3339_millis};
use portcullis_storage::{AuditFilter, AuditRecord, Outcome};
use serde_json::{Value, json};

use crate::query::Query;
use crate::{Call, Fault, Reply};

const NDJSON: &str = "application/x-ndjson";

/// `GET /api/v1/audit-logs`: a page, newest first; as lines for programs when `Accept` asks for them.
pub(crate) async fn list(call: Call) -> Result<Reply, Fault> {
    let mut query = Query::of(&call);
    let page = query.page();
    let outcome = query.parsed::<Outcome>("outcome", "success or failure");
    let filter = AuditFilter {
        user: query.parsed::<UserId>("userId", "the id of a user"),
        action: query.text("action"),
        outcome,
        from: query.time("from"),
        to: query.time("to"),
    };
    query.finish()?;
    let found = call.services.store.audit_page(&filter, page.limit, page.offset()).await?;
    let lines: Vec<Value> = found.records.iter().map(record_json).collect();
    if call.headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(NDJSON.as_bytes())) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        return Ok(Reply::bare(NDJSON, text).private());
    }
    let data = json!({ "auditLogs": lines, "pagination": page.json(found.total) });
    Ok(Reply::ok("Audit logs retrieved successfully", data).private())
}

/// A line of the log, as the API and exports show it.
pub fn record_json(record: &AuditRecord) -> Value {
    json!({
        "id": record.id,
        "timestamp": rfc3339_millis(record.at),
        "action": record.action,
        "outcome": record.outcome,
        "userId": record.actor_id,
        "subjectId": record.subject_id,
        "sessionId": record.session_id,
        "ip": record.ip,
        "userAgent": record.user_agent,
        "requestId": record.request_id,
        "details": record.details,
        "times": record.times,
        "lastAt": record.last_at.map(rfc3339_millis),
    })
}

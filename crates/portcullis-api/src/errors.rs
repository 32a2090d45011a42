//! The gateway's own errors, in groups (`docs/errors.md`).

use portcullis_model::ApiTime;
use portcullis_storage::ErrorGroup;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::input::{Cursor, Page, PageNumber, PageSize, Pagination, Parsed, Query, path};
use crate::operation::{Example, Operation, Tag, example_of};
use crate::{ApiError, Call, Reply};

pub(crate) const LIST: Operation = Operation::new(
    "errors",
    Tag::Gateway,
    "List the gateway's own errors, the last seen first",
    "Errors retrieved successfully",
)
.description(
    "Panics, 5xx of the gateway's own making and failed jobs, a group for each cause. All replicas share the list.",
);

pub(crate) const DELETE: Operation =
    Operation::new("deleteError", Tag::Gateway, "Delete a group of errors", "Error deleted successfully")
        .description("The next error of the same cause begins a new group.")
        .errors(&[(404, "No group of errors has this id.")]);

/// Which errors to list.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct ErrorsQuery {
    /// The number of the page.
    page: Option<Parsed<PageNumber>>,
    /// Groups on a page.
    limit: Option<Parsed<PageSize>>,
    /// Instead of a page: `pagination.next` of the page before.
    cursor: Option<Parsed<Cursor>>,
}

/// A page of the errors.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Errors {
    errors: Vec<ErrorEntry>,
    pagination: Pagination,
}

/// A group of errors, as the API and `portcullis errors` show it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorEntry {
    id: Uuid,
    /// What failed: `panic`, `request` or `job`.
    kind: String,
    /// What happened last, without secrets.
    message: String,
    /// The template of the route or the name of the job; null where neither is known.
    route: Option<String>,
    /// How many errors.
    count: u64,
    first_seen_at: ApiTime,
    last_seen_at: ApiTime,
    /// The request of the last error; the log has more about it.
    last_request_id: Option<String>,
    /// The release in which the last error happened.
    release: String,
}

impl From<ErrorGroup> for ErrorEntry {
    fn from(group: ErrorGroup) -> Self {
        Self {
            id: group.id,
            kind: group.kind,
            message: group.message,
            route: group.route,
            count: group.times,
            first_seen_at: ApiTime(group.first_seen_at),
            last_seen_at: ApiTime(group.last_seen_at),
            last_request_id: group.last_request_id,
            release: group.release,
        }
    }
}

impl Example for Errors {
    fn example() -> Value {
        json!({
            "errors": [{
                "id": "0198c0de-0000-7000-8000-000000000009",
                "kind": "request",
                "message": "the database failed: disk I/O error",
                "route": "/api/v1/users/{id}",
                "count": 12,
                "firstSeenAt": "2026-11-24T08:55:00.000Z",
                "lastSeenAt": "2026-11-24T09:00:00.000Z",
                "lastRequestId": "3a2f2ffb7b57d1e1c5165e72af440175",
                "release": "0.1.0",
            }],
            "pagination": example_of(&Pagination::EXAMPLE),
        })
    }
}

/// `GET /api/v1/errors`
pub(crate) async fn list(call: Call, Query(query): Query<ErrorsQuery>) -> Result<Reply<Errors>, ApiError> {
    let page = Page::new(query.page, query.limit, query.cursor)?;
    let found = call.services.store.errors_from(page.limit, page.start()).await?;
    let last = found.groups.last().filter(|_| found.has_more).map(|group| (group.last_seen_at, group.id));
    let errors = found.groups.into_iter().map(ErrorEntry::from).collect();
    Ok(LIST.reply(&Errors { errors, pagination: page.of(found.total, last) }).private())
}

/// `DELETE /api/v1/errors/{id}`
pub(crate) async fn delete(call: Call, path::ErrorGroup(id): path::ErrorGroup) -> Result<Reply<()>, ApiError> {
    call.services.identity.administration.delete_errors(&call.actor(), id, &call.caller()).await?;
    Ok(DELETE.done())
}

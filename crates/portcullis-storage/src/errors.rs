//! The gateway's own errors in groups, so that an operator without an error tracker sees them.
//!
//! The table is small by construction: each write of a new group deletes the groups beyond the newest thousand.

use portcullis_model::Timestamp;
use portcullis_model::ids::new_uuid;
use uuid::Uuid;

use crate::conditions::Conditions;
use crate::engine::columns::{FromRow, Insert, columns};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::stored_text;
use crate::engine::value::{ToValue, as_bigint};
use crate::paging::{PageStart, Total, cut_page};
use crate::store::{Store, Tx};

/// The most groups that the table holds.
pub const MOST_ERROR_GROUPS: u64 = 1_000;

/// Errors of one group that happened since the group was written last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorOccurrences {
    /// SHA-256 of what the errors of the group have in common.
    pub fingerprint: [u8; 32],
    /// What failed: `panic`, `request` or `job`.
    pub kind: &'static str,
    /// What happened last, without secrets; stored cut to 1,000 characters.
    pub message: String,
    /// The template of the route, or the name of the job.
    pub route: Option<String>,
    /// How often the error happened, the repetitions that were only counted included.
    pub times: i64,
    /// When the first of them happened.
    pub first_seen_at: Timestamp,
    /// When the last of them happened.
    pub last_seen_at: Timestamp,
    /// The request of the last of them.
    pub last_request_id: Option<String>,
    /// The release in which the last of them happened.
    pub release: String,
}

/// A group of errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorGroup {
    /// The id of the group.
    pub id: Uuid,
    /// What failed: `panic`, `request` or `job`.
    pub kind: String,
    /// What happened last.
    pub message: String,
    /// The template of the route, or the name of the job.
    pub route: Option<String>,
    /// How often the error happened, the repetitions that were only counted included.
    pub times: u64,
    /// When the first of them happened.
    pub first_seen_at: Timestamp,
    /// When the last of them happened.
    pub last_seen_at: Timestamp,
    /// The request of the last of them.
    pub last_request_id: Option<String>,
    /// The release in which the last of them happened.
    pub release: String,
}

/// A page of the groups.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    /// The groups of the page, the last seen first.
    pub groups: Vec<ErrorGroup>,
    /// Number of groups on all pages.
    pub total: Total,
    /// Whether there are groups after this page.
    pub has_more: bool,
}

columns! {
    ErrorGroup reads errors {
        id, kind, message, route, times, first_seen_at, last_seen_at, last_request_id, release,
    }
}
columns! {
    ErrorOccurrences writes errors {
        fingerprint, kind, message = stored_text::error_message(message), route, times, first_seen_at, last_seen_at,
        last_request_id, release,
    }
}

const ADD_TO_GROUP: &str = " ON CONFLICT (fingerprint) DO UPDATE SET times = errors.times + excluded.times, \
     message = excluded.message, last_seen_at = excluded.last_seen_at, last_request_id = excluded.last_request_id, \
     release = excluded.release";
static TRIM: Sql = Sql::delete("errors", "");
static COUNT: Sql = Sql::select("errors", "SELECT count(*) AS n FROM errors");
static PAGE: Sql = Sql::select("errors", "");
static DELETE: Sql = Sql::delete("errors", "DELETE FROM errors WHERE id = $1");

impl Store {
    /// Adds errors to their group. A group that is not known yet becomes the newest, and the oldest beyond
    /// [`MOST_ERROR_GROUPS`] is deleted.
    pub async fn record_errors(&self, errors: &ErrorOccurrences) -> Result<(), StoreError> {
        let mut columns = errors.columns();
        columns.push(("id", new_uuid(self.clock(), &self.shared().random).to_value()));
        let (sql, values) = Sql::insert_row("errors", columns, ADD_TO_GROUP);
        self.execute(&sql, values).await?;
        // Replicas that trim at once pass by the rows that another one deletes.
        let skip_locked = self.dialect().row_lock(" FOR UPDATE SKIP LOCKED");
        let trim = TRIM.with_text(format!(
            "DELETE FROM errors WHERE id IN (SELECT id FROM errors ORDER BY last_seen_at DESC, id DESC \
             LIMIT {MOST_ERROR_GROUPS} OFFSET $1{skip_locked})"
        ));
        self.execute(&trim, vec![as_bigint(MOST_ERROR_GROUPS)]).await.map(|_| ())
    }

    /// Returns the page of groups that begins there, the last seen first.
    pub async fn errors_from(&self, limit: u64, start: PageStart) -> Result<ErrorPage, StoreError> {
        let total = Total::read(self.one(&COUNT, vec![]).await?.as_ref())?;
        let mut conditions = Conditions::new("TRUE");
        let offset = conditions.begin_page("errors.last_seen_at", "errors.id", start);
        let (one_more, offset) = (conditions.bind_number(limit.saturating_add(1)), conditions.bind_number(offset));
        let page = PAGE.with_text(format!(
            "SELECT {} FROM errors WHERE {} ORDER BY errors.last_seen_at DESC, errors.id DESC \
             LIMIT {one_more} OFFSET {offset}",
            ErrorGroup::COLUMNS,
            conditions.sql()
        ));
        let mut rows = self.all(&page, conditions.values()).await?;
        let has_more = cut_page(&mut rows, limit);
        let groups = rows.iter().map(ErrorGroup::from_row).collect::<Result<_, _>>()?;
        Ok(ErrorPage { groups, total, has_more })
    }
}

impl Tx {
    /// Deletes a group; `false` if there is none with this id. Its next error begins a new one.
    pub async fn delete_error_group(&mut self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.execute(&DELETE, vec![id.into()]).await? == 1)
    }
}

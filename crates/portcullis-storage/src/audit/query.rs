//! Reading the audit log: in pages, newest first, or as an export, oldest first.

use portcullis_model::{Timestamp, UserId};
use uuid::Uuid;

use super::event::{AuditRecord, Outcome};
use crate::engine::columns::FromRow;
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{Value, as_bigint};
use crate::paging::{PageStart, Total};
use crate::store::Store;

/// Which lines to read. The default reads all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only lines whose actor or subject is this user.
    pub user: Option<UserId>,
    /// Only lines of this action.
    pub action: Option<String>,
    /// Only successes, or only failures.
    pub outcome: Option<Outcome>,
    /// Only lines at or after this time.
    pub from: Option<Timestamp>,
    /// Only lines before this time.
    pub to: Option<Timestamp>,
}

/// One page of the audit log.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The page's lines, newest first.
    pub records: Vec<AuditRecord>,
    /// Number of lines on all pages.
    pub total: Total,
    /// Whether there are lines after this page.
    pub has_more: bool,
}

const COLUMNS: &str = AuditRecord::COLUMNS;

static COUNT: Sql = Sql::select("audit_log", "");
static PAGE: Sql = Sql::select("audit_log", "");
static AFTER: Sql = Sql::select("audit_log", "");

/// The lines that a filter describes, as SQL.
struct Query {
    conditions: Vec<String>,
    values: Vec<Value>,
    /// The parameter of the user that lines are about.
    user: Option<String>,
}

impl Query {
    /// A condition that is not set is left out, so that indices can be used.
    fn new(filter: &AuditFilter) -> Self {
        let mut query = Self { conditions: vec!["TRUE".to_owned()], values: Vec::new(), user: None };
        query.user = filter.user.map(|user| query.value(user.into()));
        if let Some(action) = &filter.action {
            let action = query.value(action.as_str().into());
            query.conditions.push(format!("action = {action}"));
        }
        if let Some(outcome) = filter.outcome {
            // Not a parameter: the index of failures has the condition in this form.
            query.conditions.push(format!("outcome = '{}'", outcome.as_str()));
        }
        if let Some(from) = filter.from {
            let from = query.value(from.into());
            query.conditions.push(format!("at >= {from}"));
        }
        if let Some(to) = filter.to {
            let to = query.value(to.into());
            query.conditions.push(format!("at < {to}"));
        }
        query
    }

    /// Adds a value and returns its parameter.
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Returns a SELECT of the first lines. For a user the lines by the actor and those by the subject are read along an
    /// index each, because no index has both.
    fn lines(&self, order: &str, most: &str) -> String {
        let conditions = self.conditions.join(" AND ");
        let of = |condition: &str| {
            format!(
                "SELECT {COLUMNS} FROM audit_log WHERE {condition}{conditions} ORDER BY at {order}, id {order} LIMIT {most}"
            )
        };
        match &self.user {
            None => of(""),
            Some(user) => format!(
                "SELECT * FROM ({}) AS by_subject UNION SELECT * FROM ({}) AS by_actor",
                of(&format!("subject_id = {user} AND ")),
                of(&format!("actor_id = {user} AND "))
            ),
        }
    }
}

impl AuditFilter {
    /// Returns whether no line can match, because the engines refuse to search for such a text.
    fn matches_nothing(&self) -> bool {
        self.action.as_deref().is_some_and(|action| action.contains('\0'))
    }
}

impl Store {
    /// Returns a page of the log, newest first.
    pub async fn audit_page(&self, filter: &AuditFilter, limit: u64, offset: u64) -> Result<AuditPage, StoreError> {
        self.audit_from(filter, limit, PageStart::Offset(offset)).await
    }

    /// Returns the page of the log that begins there, newest first.
    pub async fn audit_from(
        &self,
        filter: &AuditFilter,
        limit: u64,
        start: PageStart,
    ) -> Result<AuditPage, StoreError> {
        if filter.matches_nothing() {
            return Ok(AuditPage { records: Vec::new(), total: Total::default(), has_more: false });
        }
        let mut query = Query::new(filter);
        let most = query.value(as_bigint(Total::LIMIT));
        let count = COUNT.with_text(format!("SELECT count(*) AS n FROM ({}) AS counted", query.lines("DESC", &most)));
        let total = Total::read(self.one(&count, query.values.clone()).await?.as_ref())?;
        query.values.pop();
        let mut offset = 0;
        match start {
            PageStart::Offset(rows) => offset = rows,
            PageStart::After(at, id) => {
                let (at, id) = (query.value(at.into()), query.value(id.into()));
                query.conditions.push(format!("(at, id) < ({at}, {id})"));
            }
        }
        // One more than the page has, to know whether there are more.
        let one_more = limit.saturating_add(1);
        let most = query.value(as_bigint(offset.saturating_add(one_more)));
        let lines = query.lines("DESC", &most);
        let (one_more, offset) = (query.value(as_bigint(one_more)), query.value(as_bigint(offset)));
        let page = PAGE.with_text(format!(
            "SELECT * FROM ({lines}) AS lines ORDER BY audit_log_at DESC, audit_log_id DESC LIMIT {one_more} OFFSET {offset}"
        ));
        let mut rows = self.all(&page, query.values).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let records = rows.iter().map(AuditRecord::from_row).collect::<Result<_, _>>()?;
        Ok(AuditPage { records, total, has_more })
    }

    /// Returns the lines that follow `last`, oldest first. The cost of a batch does not grow with its position.
    pub async fn audit_after(
        &self,
        filter: &AuditFilter,
        last: Option<(Timestamp, Uuid)>,
        limit: u64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        if filter.matches_nothing() {
            return Ok(Vec::new());
        }
        let mut query = Query::new(filter);
        if let Some((at, id)) = last {
            let (at, id) = (query.value(at.into()), query.value(id.into()));
            query.conditions.push(format!("(at, id) > ({at}, {id})"));
        }
        let most = query.value(as_bigint(limit));
        let after = AFTER.with_text(format!(
            "SELECT * FROM ({}) AS lines ORDER BY audit_log_at, audit_log_id LIMIT {most}",
            query.lines("ASC", &most)
        ));
        self.all(&after, query.values).await?.iter().map(AuditRecord::from_row).collect()
    }
}

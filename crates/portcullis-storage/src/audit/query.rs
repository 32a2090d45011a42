//! Reading the audit log: in pages, newest first, or as an export, oldest first.

use portcullis_model::{Timestamp, UserId};
use uuid::Uuid;

use super::event::{AuditRecord, Outcome};
use crate::conditions::Conditions;
use crate::engine::columns::FromRow;
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::Value;
use crate::paging::{PageStart, Total, cut_page};
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
struct Lines {
    conditions: Conditions,
    /// The parameter of the user that lines are about.
    user: Option<String>,
}

impl Lines {
    fn new(filter: &AuditFilter) -> Self {
        let mut conditions = Conditions::new("TRUE");
        let user = filter.user.map(|user| conditions.bind(user.into()));
        conditions.compare("action", "=", filter.action.as_deref().map(Value::from));
        if let Some(outcome) = filter.outcome {
            // Not a parameter: the index of failures has the condition in this form.
            conditions.require(format!("outcome = '{}'", outcome.as_str()));
        }
        conditions.compare("at", ">=", filter.from.map(Value::from));
        conditions.compare("at", "<", filter.to.map(Value::from));
        Self { conditions, user }
    }

    /// Returns a SELECT of the first lines.
    fn first(&self, order: &str, most: &str) -> String {
        self.select(COLUMNS, &format!("ORDER BY at {order}, id {order} LIMIT {most}"))
    }

    /// Returns a SELECT of the ids of the first lines, which an index has: no line itself is read to count it. The newest come
    /// first, because entries of pruned lines stand at the index's other end until a VACUUM.
    fn ids(&self, most: &str) -> String {
        self.select("id", &format!("ORDER BY at DESC, id DESC LIMIT {most}"))
    }

    /// Returns a SELECT of columns. For a user the lines by the actor and those by the subject are read along an index each,
    /// because no index has both.
    fn select(&self, columns: &str, limit: &str) -> String {
        let conditions = self.conditions.sql();
        let of = |condition: &str| format!("SELECT {columns} FROM audit_log WHERE {condition}{conditions} {limit}");
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
        let mut lines = Lines::new(filter);
        let most = lines.conditions.bind_number(Total::LIMIT);
        let count = COUNT.with_text(format!("SELECT count(*) AS n FROM ({}) AS counted", lines.ids(&most)));
        let total = Total::read(self.one(&count, lines.conditions.values()).await?.as_ref())?;
        lines.conditions.unbind_last();
        let offset = lines.conditions.begin_page("at", "id", start);
        // One more than the page has, to know whether there are more.
        let one_more = limit.saturating_add(1);
        let most = lines.conditions.bind_number(offset.saturating_add(one_more));
        let first = lines.first("DESC", &most);
        let (one_more, offset) = (lines.conditions.bind_number(one_more), lines.conditions.bind_number(offset));
        let page = PAGE.with_text(format!(
            "SELECT * FROM ({first}) AS lines ORDER BY audit_log_at DESC, audit_log_id DESC LIMIT {one_more} OFFSET {offset}"
        ));
        let mut rows = self.all(&page, lines.conditions.values()).await?;
        let has_more = cut_page(&mut rows, limit);
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
        let mut lines = Lines::new(filter);
        if let Some((at, id)) = last {
            let (at, id) = (lines.conditions.bind(at.into()), lines.conditions.bind(id.into()));
            lines.conditions.require(format!("(at, id) > ({at}, {id})"));
        }
        let most = lines.conditions.bind_number(limit);
        let after = AFTER.with_text(format!(
            "SELECT * FROM ({}) AS lines ORDER BY audit_log_at, audit_log_id LIMIT {most}",
            lines.first("ASC", &most)
        ));
        self.all(&after, lines.conditions.values()).await?.iter().map(AuditRecord::from_row).collect()
    }
}

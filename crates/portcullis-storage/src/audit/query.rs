//! Reading the audit log: in pages, newest first, or as an export, oldest first.

use portcullis_model::{Timestamp, UserId};
use uuid::Uuid;

use super::event::{AuditRecord, Outcome};
use crate::engine::columns::FromRow;
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{Value, as_bigint};
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
    /// Number of lines on all pages. Counting stops at 100,000.
    pub total: u64,
}

/// Where counting stops: more would read the whole log for a number of pages that nobody opens.
const MOST_COUNTED: u64 = 100_000;

const COLUMNS: &str = AuditRecord::COLUMNS;

static COUNT: Sql = Sql::select("audit_log", "");
static PAGE: Sql = Sql::select("audit_log", "");
static AFTER: Sql = Sql::select("audit_log", "");

impl AuditFilter {
    /// Returns the conditions and their values. A condition that is not set is left out, so that indices can be used.
    fn conditions(&self) -> (String, Vec<Value>) {
        let mut conditions = vec!["TRUE".to_owned()];
        let mut values: Vec<Value> = Vec::new();
        let mut add = |condition: &dyn Fn(usize) -> String, value: Value| {
            values.push(value);
            conditions.push(condition(values.len()));
        };
        if let Some(user) = self.user {
            add(&|n| format!("(subject_id = ${n} OR actor_id = ${n})"), user.into());
        }
        if let Some(action) = &self.action {
            add(&|n| format!("action = ${n}"), action.as_str().into());
        }
        if let Some(outcome) = self.outcome {
            add(&|n| format!("outcome = ${n}"), outcome.into());
        }
        if let Some(from) = self.from {
            add(&|n| format!("at >= ${n}"), from.into());
        }
        if let Some(to) = self.to {
            add(&|n| format!("at < ${n}"), to.into());
        }
        (conditions.join(" AND "), values)
    }

    /// Returns whether no line can match, because the engines refuse to search for such a text.
    fn matches_nothing(&self) -> bool {
        self.action.as_deref().is_some_and(|action| action.contains('\0'))
    }
}

impl Store {
    /// Returns a page of the log, newest first.
    pub async fn audit_page(&self, filter: &AuditFilter, limit: u64, offset: u64) -> Result<AuditPage, StoreError> {
        if filter.matches_nothing() {
            return Ok(AuditPage { records: Vec::new(), total: 0 });
        }
        let (conditions, mut values) = filter.conditions();
        let count = COUNT.with_text(format!(
            "SELECT count(*) AS n FROM (SELECT 1 FROM audit_log WHERE {conditions} LIMIT {MOST_COUNTED}) AS counted"
        ));
        let total = self.one(&count, values.clone()).await?.map_or(Ok(0), |row| row.count("n"))?;
        let n = values.len();
        values.extend([as_bigint(limit), as_bigint(offset)]);
        let page = PAGE.with_text(format!(
            "SELECT {COLUMNS} FROM audit_log WHERE {conditions} ORDER BY at DESC, id DESC LIMIT ${} OFFSET ${}",
            n + 1,
            n + 2
        ));
        let records = self.all(&page, values).await?.iter().map(AuditRecord::from_row).collect::<Result<_, _>>()?;
        Ok(AuditPage { records, total })
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
        let (mut conditions, mut values) = filter.conditions();
        if let Some((at, id)) = last {
            values.extend([at.into(), id.into()]);
            conditions.push_str(&format!(" AND (at, id) > (${}, ${})", values.len() - 1, values.len()));
        }
        values.push(as_bigint(limit));
        let after = AFTER.with_text(format!(
            "SELECT {COLUMNS} FROM audit_log WHERE {conditions} ORDER BY at, id LIMIT ${}",
            values.len()
        ));
        self.all(&after, values).await?.iter().map(AuditRecord::from_row).collect()
    }
}

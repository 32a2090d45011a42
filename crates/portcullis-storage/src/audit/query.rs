//! Reading the audit log: pages for people, a walk from old to new for exports.

use portcullis_model::{Timestamp, UserId};
use uuid::Uuid;

use super::event::{AuditRecord, Outcome, read};
use crate::engine::error::StoreError;
use crate::engine::statement::{Runs, Sql};
use crate::engine::value::Value;
use crate::engine::value::as_bigint;
use crate::store::Store;

/// Which lines; all when nothing is set.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only what this person did, or what was done to their account.
    pub user: Option<UserId>,
    /// Only this action.
    pub action: Option<String>,
    /// Only what went well, or what did not.
    pub outcome: Option<Outcome>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// One page of the log.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The lines, newest first.
    pub records: Vec<AuditRecord>,
    /// How many there are on all pages, as far as they are counted: up to a hundred thousand.
    pub total: u64,
}

/// Counting on would read the whole log for a number that nobody pages through.
const MOST_COUNTED: u64 = 100_000;

static COUNT: Sql = Sql::select("audit_log", "");
static PAGE: Sql = Sql::select("audit_log", "");
static AFTER: Sql = Sql::select("audit_log", "");

const COLUMNS: &str = "id, at, action, outcome, actor_id, subject_id, session_id, ip, user_agent, request_id, details, \
                       times, last_at";

impl AuditFilter {
    /// Conditions and their values. Only what is asked for stands in the statement, so that indices serve it.
    fn conditions(&self) -> (String, Vec<Value>) {
        let mut conditions = vec!["TRUE".to_owned()];
        let mut values: Vec<Value> = Vec::new();
        let mut add = |condition: &dyn Fn(usize) -> String, value: Value| {
            values.push(value);
            conditions.push(condition(values.len()));
        };
        if let Some(user) = self.user {
            add(&|n| format!("(subject_id = ${n} OR actor_id = ${n})"), user.0.into());
        }
        if let Some(action) = &self.action {
            add(&|n| format!("action = ${n}"), action.as_str().into());
        }
        if let Some(outcome) = self.outcome {
            add(&|n| format!("outcome = ${n}"), outcome.as_str().into());
        }
        if let Some(from) = self.from {
            add(&|n| format!("at >= ${n}"), from.into());
        }
        if let Some(to) = self.to {
            add(&|n| format!("at < ${n}"), to.into());
        }
        (conditions.join(" AND "), values)
    }

    /// Whether no line can be meant: the engines refuse to look for such texts.
    fn finds_nothing(&self) -> bool {
        self.action.as_deref().is_some_and(|action| action.contains('\0'))
    }
}

impl Store {
    /// A page of the log, newest first.
    pub async fn audit_page(&self, filter: &AuditFilter, limit: u64, offset: u64) -> Result<AuditPage, StoreError> {
        if filter.finds_nothing() {
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
        let records = self.all(&page, values).await?.iter().map(read).collect::<Result<_, _>>()?;
        Ok(AuditPage { records, total })
    }

    /// The lines that come after one, oldest first: a walk through all of them costs the same for each.
    pub async fn audit_after(
        &self,
        filter: &AuditFilter,
        last: Option<(Timestamp, Uuid)>,
        limit: u64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        if filter.finds_nothing() {
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
        self.all(&after, values).await?.iter().map(read).collect()
    }
}

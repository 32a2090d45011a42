//! Lists of users by page, filter and search. Each reads a bounded number of rows, along an index.

use portcullis_model::{Role, User};

use crate::engine::columns::FromRow;
use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{Value, as_bigint};
use crate::paging::{PageStart, Total};
use crate::store::Store;

/// Which users to list. The default lists all.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Only users of this role.
    pub role: Option<Role>,
    /// Only active users, or only inactive ones.
    pub is_active: Option<bool>,
    /// Only users whose e-mail address or username begins with this text, or, if it begins with `@`, whose address has a
    /// domain that begins with the rest. The case of ASCII letters is ignored. The first 10,000 matches of each count.
    pub search: Option<String>,
}

/// One page of a list of users.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The page's users, newest first.
    pub users: Vec<User>,
    /// Number of users on all pages.
    pub total: Total,
    /// Whether there are users after this page.
    pub has_more: bool,
}

static COUNT: Sql = Sql::select("users", "");
static PAGE: Sql = Sql::select("users", "");

/// Length of the longest address or username, in bytes.
const LONGEST: usize = 254;
/// Matches of a search that are considered, of each column.
const MATCHES: u64 = 10_000;
/// Comes after every text that begins with the text before it.
const LAST: char = '\u{10ffff}';

/// The list that a filter describes, as SQL.
struct Query {
    /// The table, or the matches of a search, called `listed`.
    from: String,
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Query {
    fn new(filter: &UserFilter, dialect: Dialect) -> Self {
        let from = "users AS listed".to_owned();
        let mut query = Self { from, conditions: vec!["listed.deleted_at IS NULL".to_owned()], values: Vec::new() };
        if let Some(search) = &filter.search {
            query.search(search, dialect);
        }
        if let Some(role) = filter.role {
            let role = query.value(role.into());
            query.conditions.push(format!("listed.role = {role}"));
        }
        if let Some(is_active) = filter.is_active {
            let is_active = query.value(is_active.into());
            query.conditions.push(format!("listed.is_active = {is_active}"));
        }
        query
    }

    /// Adds a value and returns its parameter.
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Restricts the list to the first matches of a text, which prefix indices find.
    fn search(&mut self, text: &str, dialect: Dialect) {
        let text = text.trim().to_ascii_lowercase();
        let columns = if text.starts_with('@') {
            vec![dialect.email_domain()]
        } else {
            vec![format!("email{}", dialect.bytewise()), format!("username{}", dialect.bytewise())]
        };
        let from = self.value(text.as_str().into());
        let to = self.value(format!("{text}{LAST}").as_str().into());
        let most = self.value(as_bigint(MATCHES));
        let matches: Vec<String> = columns
            .iter()
            .map(|column| {
                format!(
                    "SELECT * FROM (SELECT * FROM users WHERE {column} >= {from} AND {column} < {to} \
                     ORDER BY {column} LIMIT {most}) AS matches"
                )
            })
            .collect();
        self.from = format!("({}) AS listed", matches.join(" UNION "));
    }
}

impl Store {
    /// Returns a page of users, newest first.
    pub async fn list_users(&self, filter: &UserFilter, limit: u64, offset: u64) -> Result<UserPage, StoreError> {
        self.users_from(filter, limit, PageStart::Offset(offset)).await
    }

    /// Returns the page of users that begins there, newest first.
    pub async fn users_from(&self, filter: &UserFilter, limit: u64, start: PageStart) -> Result<UserPage, StoreError> {
        if filter.search.as_deref().is_some_and(|search| search.len() > LONGEST || search.contains('\0')) {
            // No user matches such a text, and the engines refuse to search for it.
            return Ok(UserPage { users: Vec::new(), total: Total::default(), has_more: false });
        }
        let mut query = Query::new(filter, self.dialect());
        let (from, conditions) = (query.from.clone(), query.conditions.join(" AND "));
        let most = query.value(as_bigint(Total::LIMIT));
        let count = COUNT.with_text(format!(
            "SELECT count(*) AS n FROM (SELECT 1 FROM {from} WHERE {conditions} LIMIT {most}) AS c"
        ));
        let total = Total::read(self.one(&count, query.values.clone()).await?.as_ref())?;
        query.values.pop();
        let mut offset = 0;
        match start {
            PageStart::Offset(rows) => offset = rows,
            PageStart::After(at, id) => {
                let (at, id) = (query.value(at.into()), query.value(id.into()));
                query.conditions.push(format!("(listed.created_at, listed.id) < ({at}, {id})"));
            }
        }
        // One more than the page has, to know whether there are more.
        let (limit_parameter, offset) =
            (query.value(as_bigint(limit.saturating_add(1))), query.value(as_bigint(offset)));
        let page = PAGE.with_text(format!(
            "SELECT {} FROM {from} WHERE {} ORDER BY listed.created_at DESC, listed.id DESC \
             LIMIT {limit_parameter} OFFSET {offset}",
            User::COLUMNS.replace("users.", "listed."),
            query.conditions.join(" AND ")
        ));
        let mut rows = self.all(&page, query.values).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Ok(UserPage { users: rows.iter().map(User::from_row).collect::<Result<_, _>>()?, total, has_more })
    }
}

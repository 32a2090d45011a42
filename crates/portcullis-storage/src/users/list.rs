//! Lists of users by page, filter and search. Each reads a bounded number of rows, along an index.

use portcullis_model::{Role, User};

use crate::conditions::Conditions;
use crate::engine::columns::FromRow;
use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::Value;
use crate::paging::{PageStart, Total, cut_page};
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

/// The list that a filter describes, as SQL: the table, or the matches of a search, called `listed`.
fn list(filter: &UserFilter, dialect: Dialect) -> (String, Conditions) {
    let mut conditions = Conditions::new("listed.deleted_at IS NULL");
    let from = match &filter.search {
        Some(search) => matches(search, &mut conditions, dialect),
        None => "users AS listed".to_owned(),
    };
    conditions.compare("listed.role", "=", filter.role.map(Value::from));
    conditions.compare("listed.is_active", "=", filter.is_active.map(Value::from));
    (from, conditions)
}

/// Returns the first matches of a text, which prefix indices find.
fn matches(text: &str, conditions: &mut Conditions, dialect: Dialect) -> String {
    let text = text.trim().to_ascii_lowercase();
    let columns = if text.starts_with('@') {
        vec![dialect.email_domain()]
    } else {
        vec![format!("email{}", dialect.bytewise()), format!("username{}", dialect.bytewise())]
    };
    let from = conditions.bind(text.as_str().into());
    let to = conditions.bind(format!("{text}{LAST}").as_str().into());
    let most = conditions.bind_number(MATCHES);
    let matches: Vec<String> = columns
        .iter()
        .map(|column| {
            format!(
                "SELECT * FROM (SELECT * FROM users WHERE {column} >= {from} AND {column} < {to} \
                 ORDER BY {column} LIMIT {most}) AS matches"
            )
        })
        .collect();
    format!("({}) AS listed", matches.join(" UNION "))
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
        let (from, mut conditions) = list(filter, self.dialect());
        let (uncut, most) = (conditions.sql(), conditions.bind_number(Total::LIMIT));
        let count = COUNT
            .with_text(format!("SELECT count(*) AS n FROM (SELECT 1 FROM {from} WHERE {uncut} LIMIT {most}) AS c"));
        let total = Total::read(self.one(&count, conditions.values()).await?.as_ref())?;
        conditions.unbind_last();
        let offset = conditions.begin_page("listed.created_at", "listed.id", start);
        // One more than the page has, to know whether there are more.
        let (one_more, offset) = (conditions.bind_number(limit.saturating_add(1)), conditions.bind_number(offset));
        let page = PAGE.with_text(format!(
            "SELECT {} FROM {from} WHERE {} ORDER BY listed.created_at DESC, listed.id DESC LIMIT {one_more} OFFSET {offset}",
            User::COLUMNS.replace("users.", "listed."),
            conditions.sql()
        ));
        let mut rows = self.all(&page, conditions.values()).await?;
        let has_more = cut_page(&mut rows, limit);
        Ok(UserPage { users: rows.iter().map(User::from_row).collect::<Result<_, _>>()?, total, has_more })
    }
}

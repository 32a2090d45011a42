//! Lists of users by page, filter and search.

use portcullis_model::{Role, User};

use crate::engine::columns::{FromRow, sql};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{Value, as_bigint};
use crate::store::Store;

/// Which users to list. The default lists all.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Only users of this role.
    pub role: Option<Role>,
    /// Only active users, or only inactive ones.
    pub is_active: Option<bool>,
    /// Only users whose e-mail address or username contains this text. The case of ASCII letters is ignored.
    pub search: Option<String>,
}

/// One page of a list of users.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The page's users, newest first.
    pub users: Vec<User>,
    /// Number of users on all pages.
    pub total: u64,
}

const FROM_FILTERED_USERS: &str = " FROM users WHERE ($1 IS NULL OR role = $1) AND ($2 IS NULL OR is_active = $2) \
     AND ($3 IS NULL OR email LIKE $3 ESCAPE '!' OR username LIKE $3 ESCAPE '!')";

static COUNT: Sql = Sql::select("users", sql!("SELECT count(*) AS n", FROM_FILTERED_USERS));
static PAGE: Sql = Sql::select(
    "users",
    sql!(
        "SELECT ",
        User::COLUMNS,
        FROM_FILTERED_USERS,
        " ORDER BY users.created_at DESC, users.id DESC LIMIT $4 OFFSET $5"
    ),
);

/// Length of the longest address or username, in bytes.
const LONGEST: usize = 254;

impl Store {
    /// Returns a page of users, newest first.
    pub async fn list_users(&self, filter: &UserFilter, limit: u64, offset: u64) -> Result<UserPage, StoreError> {
        if filter.search.as_deref().is_some_and(|search| search.len() > LONGEST || search.contains('\0')) {
            // No user matches such a text, and the engines refuse to search for it.
            return Ok(UserPage { users: Vec::new(), total: 0 });
        }
        let pattern = filter.search.as_deref().map(pattern_containing);
        let mut values: Vec<Value> = vec![filter.role.into(), filter.is_active.into(), pattern.into()];
        let total = self.one(&COUNT, values.clone()).await?.map_or(Ok(0), |row| row.count("n"))?;
        values.extend([as_bigint(limit), as_bigint(offset)]);
        let users = self.all(&PAGE, values).await?.iter().map(User::from_row).collect::<Result<_, _>>()?;
        Ok(UserPage { users, total })
    }
}

/// Returns a LIKE pattern for texts that contain `part`. The escape character is `!`, because the engines interpret a
/// backslash differently.
fn pattern_containing(part: &str) -> String {
    let mut pattern = String::from("%");
    for c in part.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}

//! The list of users.

use portcullis_model::{Role, User};
use portcullis_storage::UserFilter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::input::{Cursor, Page, PageNumber, PageSize, Pagination, Parsed, Query};
use crate::operation::{Example, Operation, Tag, example_of};
use crate::{ApiError, Call, Reply};

pub(crate) const LIST: Operation =
    Operation::new("users", Tag::Users, "List users, newest first", "Users retrieved successfully");

/// Which users to list.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsersQuery {
    /// The number of the page.
    page: Option<Parsed<PageNumber>>,
    /// Entries on a page.
    limit: Option<Parsed<PageSize>>,
    /// Instead of a page: `pagination.next` of the page before. Pages past row 100,000 are found by it only.
    cursor: Option<Parsed<Cursor>>,
    /// Only users with this role.
    role: Option<Role>,
    /// Only active users, or only disabled ones.
    is_active: Option<bool>,
    /// The beginning of an e-mail address or username, or `@` and the beginning of an address's domain.
    search: Option<String>,
}

/// A page of users.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Users {
    users: Vec<User>,
    pagination: Pagination,
}

impl Example for Users {
    fn example() -> Value {
        json!({ "users": [User::example()], "pagination": example_of(&Pagination::EXAMPLE) })
    }
}

/// `GET /api/v1/users`
pub(crate) async fn list(call: Call, Query(query): Query<UsersQuery>) -> Result<Reply<Users>, ApiError> {
    let UsersQuery { page, limit, cursor, role, is_active, search } = query;
    let page = Page::new(page, limit, cursor)?;
    let filter = UserFilter { role, is_active, search: search.filter(|search| !search.is_empty()) };
    let found = call.services.store.users_from(&filter, page.limit, page.start()).await?;
    let last = found.users.last().filter(|_| found.has_more).map(|user| (user.created_at, user.id.0));
    let pagination = page.of(found.total, last);
    Ok(LIST.reply(&Users { users: found.users, pagination }).private())
}

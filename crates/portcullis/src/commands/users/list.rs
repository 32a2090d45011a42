//! `portcullis users list`: lists users by role, text or state.

use portcullis_model::user::rfc3339_millis;
use portcullis_model::{Role, User};
use portcullis_storage::{PageStart, Store, UserFilter};
use serde_json::json;

use super::parse_role;
use crate::commands::output::{Failure, print, print_json};
use crate::commands::{Format, table};

#[derive(clap::Args, Debug)]
pub(crate) struct List {
    /// Only users with this role
    #[arg(long, value_parser = parse_role)]
    role: Option<Role>,
    /// Only users whose e-mail address or username begins with this text; @ and a text searches domains
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only disabled users
    #[arg(long)]
    inactive: bool,
    #[command(flatten)]
    format: Format,
}

/// The most users that are read at a time.
const PAGE: u64 = 1000;

pub(crate) async fn run(store: &Store, arguments: &List) -> Result<(), Failure> {
    let filter = UserFilter {
        role: arguments.role,
        search: arguments.search.clone(),
        is_active: arguments.inactive.then_some(false),
    };
    let mut users: Vec<User> = Vec::new();
    let mut start = PageStart::Offset(0);
    loop {
        let page = store.users_from(&filter, PAGE, start).await.map_err(|error| Failure::of_error(&error))?;
        users.extend(page.users);
        match users.last().filter(|_| page.has_more) {
            Some(last) => start = PageStart::After(last.created_at, last.id.0),
            None => break,
        }
    }
    if arguments.format.json {
        print_json(&json!({ "users": users }));
        return Ok(());
    }
    let row = |user: &User| {
        vec![
            user.email.to_string(),
            user.username.to_string(),
            user.role.to_string(),
            if user.is_active { "yes" } else { "no" }.to_owned(),
            user.last_login_at.map_or_else(|| "never".to_owned(), rfc3339_millis),
            rfc3339_millis(user.created_at),
        ]
    };
    let header = ["EMAIL", "USERNAME", "ROLE", "ACTIVE", "LAST LOGIN", "CREATED"];
    print(&table::render(&header, &users.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

//! Users: reading, inserting and importing them. What changes a user is in `user_changes`, because it also ends
//! sessions.

mod foreign_users;
mod import;
mod read;

pub use foreign_users::{ForeignUser, ForeignUsers};
pub use import::{ImportOutcome, ImportedUser};
pub use read::{Credentials, NewUser, UserFilter, UserPage};
pub(crate) use read::{
    credential_columns, extra_permissions, read_credentials, read_extra_permissions, read_user, user_columns,
};

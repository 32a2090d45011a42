//! Users: inserting, reading, listing and importing them. The changes of a user are in `user_changes`, because they
//! also end sessions.

mod credentials;
mod foreign_users;
mod import;
mod list;
mod record;

pub use credentials::Credentials;
pub(crate) use credentials::EXTRA_PERMISSIONS;
pub use foreign_users::{ForeignTable, ForeignUsers};
pub use import::{ImportOutcome, ImportedUser};
pub use list::{UserFilter, UserPage};
pub use record::NewUser;

//! The Store over PostgreSQL and SQLite, migrations, the session table and the revocation feed: the only SQL.
//!
//! One body of statements serves both engines; what differs between them
//! stands in `dialect.rs`. Reads run on a [`Store`] or inside a [`Tx`]; writes
//! that belong together run in one [`Tx`] with an explicit commit.

mod api_keys;
mod audit;
mod audit_gathering;
mod audit_query;
mod availability;
mod connection;
mod dialect;
mod durability;
mod engine;
mod error;
mod feed;
mod foreign_users;
mod housekeeping;
mod idempotency;
mod import;
mod instance;
mod judge;
mod keys;
mod listen;
mod migrate;
mod open;
mod outbox;
#[cfg(test)]
mod plans;
mod pool;
mod refresh;
mod revocation;
mod row;
mod session_account;
mod session_endings;
mod session_feed;
mod session_floors;
mod session_loading;
mod session_shared;
mod session_table;
mod sessions;
mod sign_in;
mod statement;
mod store;
mod tokens;
mod transfer;
mod tx;
mod url;
mod user_changes;
mod users;
mod value;

pub use api_keys::NewApiKey;
pub use audit::{AuditEvent, AuditRecord, Outcome, UnknownOutcome};
pub use audit_query::{AuditFilter, AuditPage};
pub use error::StoreError;
pub use foreign_users::{ForeignUser, ForeignUsers};
pub use idempotency::{Earlier, OnceKey};
pub use import::{ImportOutcome, ImportedUser};
pub use keys::SigningKey;
pub use migrate::{Applied, MigrateMode, MigrationStatus, Migrator, Pending, Step};
pub use open::{OpenError, StoreOptions};
pub use outbox::{DueMail, MailRequest};
pub use refresh::{Grace, RefreshView, Rotation};
pub use session_endings::EndReason;
pub use session_table::{SessionTable, SessionTableOptions};
pub use sessions::{NewSession, SessionRecord};
pub use sign_in::{AttemptSubjects, Failures, SignInView};
pub use store::Store;
pub use tokens::{GoodToken, NewOneTimeToken, SpentToken, TokenPurpose, UnknownPurpose};
pub use transfer::{Sum, TransferError, TransferProgress, TransferredTable, transfer};
pub use tx::Tx;
pub use url::DatabaseUrl;
pub use user_changes::ProfileChange;
pub use users::{Credentials, NewUser, UserFilter, UserPage};

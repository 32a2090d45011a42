//! The only SQL of the program: a [`Store`] over PostgreSQL and SQLite, its migrations, and moves between databases.
//!
//! One body of statements serves both engines; their differences are in `engine/dialect.rs`. Reads run on a [`Store`] or
//! inside a [`Tx`]; writes that belong together run in one [`Tx`] with an explicit commit.
//!
//! The folders depend on each other in one direction only: `engine` knows no table; `revocation_log`, `migrate`,
//! `snapshot`, `restore`, `transfer` and `diagnosis` are built on it; `store` combines them; each subject (users, sessions,
//! audit log…) is built on `store`.

#![expect(private_bounds, reason = "`Access` is sealed: only `Store` and `Tx` have it, and their reads are public")]

mod api_keys;
mod audit;
mod audit_addresses;
mod conditions;
mod counted;
mod diagnosis;
mod engine;
mod errors;
mod idempotency;
mod instance;
mod jobs;
mod known_clients;
mod last_use;
mod migrate;
mod one_time_tokens;
mod outbox;
mod paging;
mod principal;
mod pruning;
mod restore;
mod revocation_feed;
mod revocation_log;
mod sessions;
mod sign_in_attempts;
mod signing_keys;
mod snapshot;
mod store;
mod transfer;
mod user_changes;
mod users;

pub use api_keys::NewApiKey;
pub use audit::{AuditEvent, AuditFilter, AuditPage, AuditRecord, Outcome, UnknownOutcome};
pub use counted::Counted;
pub use diagnosis::{ClientAddresses, Diagnosis};
pub use engine::error::StoreError;
pub use engine::open_error::OpenError;
pub use engine::options::{MigrateMode, StoreOptions};
pub use engine::postgres_url::PostgresUrl;
pub use engine::schema_name::SchemaName;
pub use engine::url::DatabaseUrl;
pub use engine::value::Value as StoredValue;
pub use errors::{ErrorGroup, ErrorOccurrences, ErrorPage, MOST_ERROR_GROUPS};
pub use idempotency::{IdempotencyKey, RecordedOutcome};
pub use instance::GENERATION;
pub use jobs::JobRecord;
pub use migrate::schema::{Column as ColumnShape, Kind as ColumnKind, Table as TableShape};
pub use migrate::{Applied, MigrationStatus, Migrator, Pending, RollingObstacle, Step};
pub use one_time_tokens::{NewOneTimeToken, SpentToken, TokenPurpose, UnknownPurpose, UsableToken};
pub use outbox::{DueMail, MailRequest};
pub use paging::{MOST_COUNTED, PageStart, Total};
pub use pruning::Prunable;
pub use restore::{Aftercare, RestoreError, RestoreTarget};
pub use revocation_feed::{LogPosition, LogReading};
pub use sessions::{EndReason, GraceWindow, NewSession, RefreshView, Rotation, SessionRecord};
pub use sign_in_attempts::{AttemptLimits, AttemptSubjects, Failures, Reserved, SignInView};
pub use signing_keys::SigningKey;
pub use snapshot::{Snapshot, SnapshotError, TableRows};
pub use store::{Database, Store, Tx};
pub use transfer::{Checksum, TransferError, TransferProgress, TransferredTable, transfer};
pub use user_changes::ProfileChange;
pub use users::{Credentials, ForeignTable, ForeignUsers, ImportOutcome, ImportedUser, NewUser, UserFilter, UserPage};

//! Importing users of another program with their ids and password hashes. A row that breaks a rule is reported and
//! skipped.

mod row;

use portcullis_model::{Clock, Random, SecretString};
use portcullis_storage::{ImportOutcome, ImportedUser, Store};
use serde_json::json;

use crate::audit::Caller;
use crate::error::IdentityError;

/// A row of the file or table that is imported, unchecked.
#[derive(Clone, Debug, Default)]
pub struct ImportRow {
    /// The id as a UUID; a new one is made when it is missing.
    pub id: Option<String>,
    /// E-mail address as written in the source.
    pub email: String,
    /// Username as written in the source.
    pub username: String,
    /// First name as written in the source.
    pub first_name: String,
    /// Last name as written in the source.
    pub last_name: String,
    /// Path or URL of the avatar.
    pub avatar: Option<String>,
    /// A hash made by argon2, bcrypt, scrypt or PBKDF2. Without one the user must reset the password.
    pub password: Option<SecretString>,
    /// One of the five roles in any case; DEVELOPER when it is missing.
    pub role: Option<String>,
    /// Whether the user may sign in; yes when it is missing.
    pub is_active: Option<bool>,
    /// Whether the address was verified; yes when it is missing.
    pub is_email_verified: Option<bool>,
    /// When the user was created, in RFC 3339 or in PostgreSQL's format in UTC; now when it is missing.
    pub created_at: Option<String>,
    /// Permissions beyond those of the role.
    pub permissions: Vec<String>,
}

/// The outcome of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// The user was created.
    Created,
    /// The user exists with the same id and address: an earlier import created it.
    AlreadyExists,
    /// The row was skipped for this reason.
    Refused(String),
}

/// Imports users of another program.
pub struct Import {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

impl Import {
    /// Creates the users of all valid rows in one transaction and returns the outcome of each row, in order.
    ///
    /// A `dry_run` returns the same outcomes and changes nothing.
    pub async fn users(
        &self,
        rows: Vec<ImportRow>,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<Vec<RowOutcome>, IdentityError> {
        let now = self.clock.now();
        let checked: Vec<Result<ImportedUser, String>> = rows.into_iter().map(|row| self.check_row(row, now)).collect();
        let valid: Vec<ImportedUser> = checked.iter().filter_map(|row| row.as_ref().ok()).cloned().collect();
        let mut tx = self.store.begin().await?;
        let mut outcomes = tx.import_users(&valid).await?.into_iter();
        let made = outcomes.as_slice().iter().filter(|outcome| **outcome == ImportOutcome::Created).count();
        if made > 0 {
            tx.append_audit(&caller.bulk_event("user.import", now, json!({ "accounts": made }))).await?;
        }
        // Without a commit the transaction is rolled back.
        if !dry_run {
            tx.commit().await?;
        }
        let outcome = |row: Result<ImportedUser, String>| match row {
            Err(reason) => RowOutcome::Refused(reason),
            Ok(_) => outcome_of(outcomes.next().expect("storage returns an outcome per row")),
        };
        Ok(checked.into_iter().map(outcome).collect())
    }
}

fn outcome_of(outcome: ImportOutcome) -> RowOutcome {
    let refused = |why: &str| RowOutcome::Refused(why.to_owned());
    match outcome {
        ImportOutcome::Created => RowOutcome::Created,
        ImportOutcome::AlreadyExists => RowOutcome::AlreadyExists,
        ImportOutcome::IdTaken => refused("another user has this id"),
        ImportOutcome::EmailTaken => refused("another user has this email address after normalisation"),
        ImportOutcome::UsernameTaken => refused("another user has this username after normalisation"),
    }
}

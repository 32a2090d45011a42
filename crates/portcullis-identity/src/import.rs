//! Importing users of another program with their ids and password hashes. A row that breaks a rule is reported and
//! skipped.

use portcullis_model::api_time::has_four_digit_year;
use portcullis_model::{
    ApiTime, Clock, Email, InvalidInput, Permission, PermissionSet, ProfileName, Random, Role, SecretString, Timestamp,
    User, UserId, Username,
};
use portcullis_storage::{ImportOutcome, ImportedUser, NewUser, Store};
use serde_json::json;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::hashing::stored::check_stored_hash;

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

    fn check_row(&self, row: ImportRow, now: Timestamp) -> Result<ImportedUser, String> {
        let ImportRow {
            id,
            email,
            username,
            first_name,
            last_name,
            avatar,
            password,
            role,
            is_active,
            is_email_verified,
            created_at,
            permissions,
        } = row;
        let mut problems: Vec<String> = Vec::new();
        let mut keep = |result: Result<(), String>| problems.extend(result.err());
        let text = |InvalidInput(problem)| problem;
        let (mut the_id, mut the_email, mut the_username) = (None, None, None);
        let (mut the_first, mut the_last) = (None, None);
        keep(Email::parse(&email).map(|email| the_email = Some(email)).map_err(text));
        keep(Username::parse(&username).map(|name| the_username = Some(name)).map_err(text));
        keep(ProfileName::parse("First name", &first_name).map(|name| the_first = Some(name)).map_err(text));
        keep(ProfileName::parse("Last name", &last_name).map(|name| the_last = Some(name)).map_err(text));
        keep(match id.as_deref().map(str::trim).filter(|id| !id.is_empty()) {
            None => {
                the_id = Some(UserId::new(&self.clock, &self.random));
                Ok(())
            }
            Some(id) => match id.parse::<UserId>() {
                Ok(id) if id.is_demo() => Err("Id is the one of the demo account".to_owned()),
                Ok(id) => {
                    the_id = Some(id);
                    Ok(())
                }
                Err(_) => Err("Id must be a UUID".to_owned()),
            },
        });
        let mut the_role = Role::OF_REGISTRANTS;
        if let Some(role) = role.as_deref().map(str::trim).filter(|role| !role.is_empty()) {
            keep(
                role.to_ascii_uppercase()
                    .parse()
                    .map(|role| the_role = role)
                    .map_err(|error: portcullis_model::role::UnknownRole| error.to_string()),
            );
        }
        let mut made_at = now;
        if let Some(at) = created_at.as_deref().map(str::trim).filter(|at| !at.is_empty()) {
            keep(
                read_time(at)
                    .map(|at| made_at = at.min(now))
                    .ok_or_else(|| format!("createdAt {at:?} is neither RFC 3339 nor a PostgreSQL timestamp in UTC")),
            );
        }
        let mut the_avatar = None;
        if let Some(avatar) = avatar.filter(|avatar| !avatar.is_empty()) {
            keep(portcullis_model::name::parse_avatar(&avatar).map(|avatar| the_avatar = Some(avatar)).map_err(text));
        }
        let hash = password.filter(|hash| !hash.expose().is_empty());
        if let Some(hash) = &hash {
            keep(
                check_stored_hash(hash.expose())
                    .map_err(|refused| format!("The password hash cannot be imported: {refused}")),
            );
        }
        let mut held = PermissionSet::new();
        for name in permissions {
            keep(Permission::parse(&name).map(|name| _ = held.insert(name)).map_err(text));
        }
        let (Some(id), Some(email), Some(username), Some(first_name), Some(last_name), true) =
            (the_id, the_email, the_username, the_first, the_last, problems.is_empty())
        else {
            return Err(problems.join("; "));
        };
        let user = User {
            id,
            email,
            username,
            first_name,
            last_name,
            avatar: the_avatar,
            role: the_role,
            is_active: is_active.unwrap_or(true),
            email_verified_at: is_email_verified.unwrap_or(true).then_some(made_at),
            last_login_at: None,
            created_at: made_at,
            updated_at: now,
        };
        Ok(ImportedUser { new: NewUser { user, password_hash: hash }, permissions: held })
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

/// Parses RFC 3339, or PostgreSQL's text of a timestamp in UTC.
fn read_time(text: &str) -> Option<Timestamp> {
    if let Some(at) = ApiTime::parse(text) {
        return Some(at.0);
    }
    let utc = text.strip_suffix("+00").or_else(|| text.strip_suffix("+00:00")).unwrap_or(text);
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
        .iter()
        .find_map(|form| chrono::NaiveDateTime::parse_from_str(utc, form).ok())
        .map(|at| at.and_utc())
        .filter(has_four_digit_year)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_rfc_3339_and_postgresql_format() {
        let expected = "2024-02-29T12:34:56.789Z".parse::<Timestamp>().expect("valid");
        for text in [
            "2024-02-29T12:34:56.789Z",
            "2024-02-29T13:34:56.789+01:00",
            "2024-02-29 12:34:56.789",
            "2024-02-29 12:34:56.789+00",
            "2024-02-29T12:34:56.789",
        ] {
            assert_eq!(read_time(text), Some(expected), "{text}");
        }
        assert_eq!(read_time("2024-02-29 12:34:56"), "2024-02-29T12:34:56Z".parse().ok());
        for bad in ["", "yesterday", "2024-02-30 00:00:00", "1709210096", "-5000-01-01 00:00:00"] {
            assert_eq!(read_time(bad), None, "{bad}");
        }
    }
}

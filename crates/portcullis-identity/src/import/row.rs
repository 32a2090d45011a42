//! Checks a row and makes a user of it. All problems of a row are told at once.

use portcullis_model::api_time::has_four_digit_year;
use portcullis_model::name::parse_avatar;
use portcullis_model::role::UnknownRole;
use portcullis_model::{
    ApiTime, Email, InvalidInput, Permission, PermissionSet, ProfileName, Role, SecretString, Timestamp, User, UserId,
    Username,
};
use portcullis_storage::{ImportedUser, NewUser};

use super::{Import, ImportRow};
use crate::hashing::stored::check_stored_hash;

impl Import {
    pub(super) fn check_row(&self, row: ImportRow, now: Timestamp) -> Result<ImportedUser, String> {
        let mut problems = Problems::default();
        let email = problems.take(Email::parse(&row.email).map_err(text));
        let username = problems.take(Username::parse(&row.username).map_err(text));
        let first_name = problems.take(ProfileName::parse("First name", &row.first_name).map_err(text));
        let last_name = problems.take(ProfileName::parse("Last name", &row.last_name).map_err(text));
        let id = problems.take(self.read_id(row.id.as_deref()));
        let role = problems.take(read_role(row.role.as_deref()));
        let created_at = problems.take(read_created_at(row.created_at.as_deref(), now));
        let avatar = problems.take(read_avatar(row.avatar.as_deref()));
        let password_hash = problems.take(read_hash(row.password));
        let permissions =
            row.permissions.iter().filter_map(|name| problems.take(Permission::parse(name).map_err(text)));
        let permissions = permissions.collect::<PermissionSet>();

        let fields = (id, email, username, first_name, last_name, role, created_at, avatar, password_hash);
        let (
            Some(id),
            Some(email),
            Some(username),
            Some(first_name),
            Some(last_name),
            Some(role),
            Some(created_at),
            Some(avatar),
            Some(password_hash),
        ) = fields
        else {
            return Err(problems.joined());
        };
        if problems.is_any() {
            return Err(problems.joined());
        }
        let user = User {
            id,
            email,
            username,
            first_name,
            last_name,
            avatar,
            role,
            is_active: row.is_active.unwrap_or(true),
            email_verified_at: row.is_email_verified.unwrap_or(true).then_some(created_at),
            last_login_at: None,
            created_at,
            updated_at: now,
        };
        Ok(ImportedUser { new: NewUser { user, password_hash }, permissions })
    }

    fn read_id(&self, id: Option<&str>) -> Result<UserId, String> {
        let Some(id) = given(id) else { return Ok(UserId::new(&self.clock, &self.random)) };
        match id.parse::<UserId>() {
            Ok(id) if id.is_demo() => Err("Id is the one of the demo account".to_owned()),
            Ok(id) => Ok(id),
            Err(_) => Err("Id must be a UUID".to_owned()),
        }
    }
}

/// The problems of a row so far.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    /// Returns the value, or keeps the problem.
    fn take<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }

    fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    fn joined(&self) -> String {
        self.0.join("; ")
    }
}

fn text(InvalidInput(problem): InvalidInput) -> String {
    problem
}

/// Returns the trimmed text, unless nothing remains of it.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn read_role(role: Option<&str>) -> Result<Role, String> {
    let Some(role) = given(role) else { return Ok(Role::OF_REGISTRANTS) };
    role.to_ascii_uppercase().parse().map_err(|error: UnknownRole| error.to_string())
}

/// A time in the future becomes `now`.
fn read_created_at(text: Option<&str>, now: Timestamp) -> Result<Timestamp, String> {
    let Some(text) = given(text) else { return Ok(now) };
    let at = read_time(text)
        .ok_or_else(|| format!("createdAt {text:?} is neither RFC 3339 nor a PostgreSQL timestamp in UTC"))?;
    Ok(at.min(now))
}

fn read_avatar(avatar: Option<&str>) -> Result<Option<String>, String> {
    avatar.filter(|avatar| !avatar.is_empty()).map(parse_avatar).transpose().map_err(text)
}

fn read_hash(hash: Option<SecretString>) -> Result<Option<SecretString>, String> {
    let hash = hash.filter(|hash| !hash.expose().is_empty());
    if let Some(hash) = &hash {
        check_stored_hash(hash.expose())
            .map_err(|refused| format!("The password hash cannot be imported: {refused}"))?;
    }
    Ok(hash)
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

//! The fields of a user as they were typed, and the rules that they must pass before anything is stored.

use portcullis_model::{
    Email, InvalidInput, NewPassword, ProfileName, Role, SecretString, Timestamp, User, UserId, Username, name,
};
use portcullis_storage::ProfileChange;

use crate::error::IdentityError;
use crate::password_policy::{About, PasswordPolicy};

/// The form that registers a new user.
#[derive(Clone, Debug)]
pub struct RegisterInput {
    /// E-mail address as typed.
    pub email: String,
    /// Username as typed.
    pub username: String,
    /// First name as typed.
    pub first_name: String,
    /// Last name as typed.
    pub last_name: String,
    /// Password as typed.
    pub password: SecretString,
    /// The same password, typed a second time.
    pub confirm_password: SecretString,
}

/// A change of names and avatar. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfileInput {
    /// New first name.
    pub first_name: Option<String>,
    /// New last name.
    pub last_name: Option<String>,
    /// New avatar; `Some(None)` removes the avatar.
    pub avatar: Option<Option<String>>,
}

/// Registration fields that passed every rule.
pub(crate) struct CheckedRegistration {
    pub(crate) profile: NewProfile,
    pub(crate) password: NewPassword,
}

/// The fields that every new user has.
pub(crate) struct NewProfile {
    email: Email,
    username: Username,
    first_name: ProfileName,
    last_name: ProfileName,
}

impl RegisterInput {
    /// Checks all fields and reports every problem at once. A confirmation that differs has an error of its own,
    /// reported when all fields are valid.
    pub(crate) fn check(&self, policy: &PasswordPolicy) -> Result<CheckedRegistration, IdentityError> {
        let Self { email, username, first_name, last_name, password, confirm_password } = self;
        let mut problems = Vec::new();
        let profile = NewProfile::parse([email, username, first_name, last_name], &mut problems);
        let about = About { email, username, first_name, last_name };
        let checked = keep(policy.check(password.expose(), &about), &mut problems);
        let (Some(profile), Some(checked)) = (profile, checked) else {
            return Err(IdentityError::Validation(problems));
        };
        if password.expose() != confirm_password.expose() {
            return Err(IdentityError::PasswordsDoNotMatch);
        }
        Ok(CheckedRegistration { profile, password: checked })
    }
}

impl NewProfile {
    /// Checks e-mail address, username, first and last name, in this order.
    pub(crate) fn parse(fields: [&str; 4], problems: &mut Vec<String>) -> Option<Self> {
        let [email, username, first_name, last_name] = fields;
        let email = keep(Email::parse(email), problems);
        let username = keep(Username::parse(username), problems);
        let first_name = keep(ProfileName::parse("First name", first_name), problems);
        let last_name = keep(ProfileName::parse("Last name", last_name), problems);
        Some(Self { email: email?, username: username?, first_name: first_name?, last_name: last_name? })
    }

    pub(crate) fn username(&self) -> &Username {
        &self.username
    }

    /// An active user with these fields, created `now`.
    pub(crate) fn into_user(
        self,
        id: UserId,
        role: Role,
        email_verified_at: Option<Timestamp>,
        now: Timestamp,
    ) -> User {
        User {
            id,
            email: self.email,
            username: self.username,
            first_name: self.first_name,
            last_name: self.last_name,
            avatar: None,
            role,
            is_active: true,
            email_verified_at,
            last_login_at: None,
            created_at: now,
            updated_at: now,
        }
    }
}

impl ProfileInput {
    /// Checks the fields that are set and reports every problem at once.
    pub(crate) fn check(self) -> Result<ProfileChange, IdentityError> {
        let mut problems = Vec::new();
        let parse = |label: &str, text: Option<String>, problems: &mut Vec<String>| {
            text.and_then(|text| keep(ProfileName::parse(label, &text), problems))
        };
        let change = ProfileChange {
            first_name: parse("First name", self.first_name, &mut problems),
            last_name: parse("Last name", self.last_name, &mut problems),
            avatar: match self.avatar {
                Some(Some(text)) => keep(name::parse_avatar(&text), &mut problems).map(Some),
                Some(None) => Some(None),
                None => None,
            },
        };
        if problems.is_empty() { Ok(change) } else { Err(IdentityError::Validation(problems)) }
    }
}

fn keep<T>(parsed: Result<T, InvalidInput>, problems: &mut Vec<String>) -> Option<T> {
    parsed.map_err(|InvalidInput(problem)| problems.push(problem)).ok()
}

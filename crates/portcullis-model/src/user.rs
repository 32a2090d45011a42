//! A person's account, as the API shows it: never a hash, never a token.

use serde::Serialize;

use crate::{Email, ProfileName, Role, Timestamp, UserId, Username};

/// An account without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Never changes, also across an import.
    pub id: UserId,
    /// Normalised, unique.
    pub email: Email,
    /// Normalised, unique.
    pub username: Username,
    /// First name.
    pub first_name: ProfileName,
    /// Last name.
    pub last_name: ProfileName,
    /// A URL or a path.
    pub avatar: Option<String>,
    /// The role in force.
    pub role: Role,
    /// Whether this account may sign in.
    pub is_active: bool,
    /// When the address was confirmed; `None` while it is not.
    pub email_verified_at: Option<Timestamp>,
    /// The latest sign-in.
    pub last_login_at: Option<Timestamp>,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When its data last changed.
    pub updated_at: Timestamp,
}

impl User {
    /// Whether the address was confirmed.
    pub fn is_email_verified(&self) -> bool {
        self.email_verified_at.is_some()
    }
}

/// RFC 3339 in UTC with milliseconds, the only date format on the wire.
pub fn rfc3339_millis(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

impl Serialize for User {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("User", 13)?;
        out.serialize_field("id", &self.id)?;
        out.serialize_field("email", &self.email)?;
        out.serialize_field("username", &self.username)?;
        out.serialize_field("firstName", &self.first_name)?;
        out.serialize_field("lastName", &self.last_name)?;
        out.serialize_field("avatar", &self.avatar)?;
        out.serialize_field("role", &self.role)?;
        out.serialize_field("isActive", &self.is_active)?;
        out.serialize_field("isEmailVerified", &self.is_email_verified())?;
        out.serialize_field("emailVerifiedAt", &self.email_verified_at.map(rfc3339_millis))?;
        out.serialize_field("lastLoginAt", &self.last_login_at.map(rfc3339_millis))?;
        out.serialize_field("createdAt", &rfc3339_millis(self.created_at))?;
        out.serialize_field("updatedAt", &rfc3339_millis(self.updated_at))?;
        out.end()
    }
}

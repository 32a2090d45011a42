//! Users as the API shows them: without password hashes and tokens.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::{ApiTime, Email, ProfileName, Role, Timestamp, UserId, Username};

/// A user without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's id. It never changes, not even by an import.
    pub id: UserId,
    /// The normalised e-mail address. No two users share one.
    pub email: Email,
    /// The normalised username. No two users share one.
    pub username: Username,
    /// The user's first name.
    pub first_name: ProfileName,
    /// The user's last name.
    pub last_name: ProfileName,
    /// The avatar's URL or path.
    pub avatar: Option<String>,
    /// The user's role now.
    pub role: Role,
    /// Whether the user may sign in.
    pub is_active: bool,
    /// The time at which the e-mail address was confirmed; `None` while it is not.
    pub email_verified_at: Option<Timestamp>,
    /// The time of the latest sign-in.
    pub last_login_at: Option<Timestamp>,
    /// The time at which the user was created.
    pub created_at: Timestamp,
    /// The time of the latest change.
    pub updated_at: Timestamp,
}

impl User {
    /// Whether the e-mail address is confirmed.
    pub fn is_email_verified(&self) -> bool {
        self.email_verified_at.is_some()
    }
}

/// Formats a time as RFC 3339 in UTC with milliseconds, the only date format of the API.
pub fn rfc3339_millis(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// A user in the form of the API.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "User")]
struct UserJson<'a> {
    id: UserId,
    /// In lower case; the domain as an A-label.
    email: &'a str,
    #[schemars(regex(pattern = "^[a-z0-9]{3,30}$"))]
    username: &'a str,
    first_name: &'a str,
    last_name: &'a str,
    avatar: Option<&'a str>,
    role: Role,
    is_active: bool,
    is_email_verified: bool,
    email_verified_at: Option<ApiTime>,
    last_login_at: Option<ApiTime>,
    created_at: ApiTime,
    updated_at: ApiTime,
}

impl Serialize for User {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = UserJson {
            id: self.id,
            email: self.email.as_str(),
            username: self.username.as_str(),
            first_name: self.first_name.as_str(),
            last_name: self.last_name.as_str(),
            avatar: self.avatar.as_deref(),
            role: self.role,
            is_active: self.is_active,
            is_email_verified: self.is_email_verified(),
            email_verified_at: self.email_verified_at.map(ApiTime),
            last_login_at: self.last_login_at.map(ApiTime),
            created_at: ApiTime(self.created_at),
            updated_at: ApiTime(self.updated_at),
        };
        json.serialize(serializer)
    }
}

impl JsonSchema for User {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        UserJson::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        UserJson::json_schema(generator)
    }
}

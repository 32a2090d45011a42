//! Administration of users (`docs/contract.md`, "Users, audit log and API keys").

pub(crate) mod account;
pub(crate) mod invitation;
pub(crate) mod list;
pub(crate) mod permissions;
pub(crate) mod roles;
pub(crate) mod sessions;

use portcullis_model::User;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::operation::Example;

/// One user.
#[derive(Serialize, JsonSchema)]
pub(crate) struct UserData {
    pub(crate) user: User,
}

impl From<&User> for UserData {
    fn from(user: &User) -> Self {
        Self { user: user.clone() }
    }
}

impl Example for UserData {
    fn example() -> Value {
        json!({ "user": User::example() })
    }
}

impl Example for User {
    fn example() -> Value {
        json!({
            "id": "0198c0de-0000-7000-8000-000000000001",
            "email": "ada@example.com",
            "username": "ada",
            "firstName": "Ada",
            "lastName": "Lovelace",
            "avatar": null,
            "role": "DEVELOPER",
            "isActive": true,
            "isEmailVerified": false,
            "emailVerifiedAt": null,
            "lastLoginAt": "2026-11-24T09:00:00.000Z",
            "createdAt": "2026-11-24T09:00:00.000Z",
            "updatedAt": "2026-11-24T09:00:00.000Z",
        })
    }
}

//! The parameters of a path. A text that is no id names nothing, which is 404 like an id that names nothing.

use portcullis_model::{SessionId, UserId};
use serde_json::json;
use uuid::Uuid;

use super::{Input, InputDescription};
use crate::{ApiError, Call};

/// Declares a parameter: its type, the name between the braces of the template, its description, and how its text is
/// read.
macro_rules! parameter {
    ($name:ident($inner:ty) = $parameter:literal, $description:literal, $schema:tt, $parse:expr) => {
        #[doc = $description]
        pub(crate) struct $name(pub(crate) $inner);

        impl Input for $name {
            async fn read(call: &mut Call) -> Result<Self, ApiError> {
                let parse: fn(&str) -> Result<$inner, ApiError> = $parse;
                parse(call.permit.parameter($parameter).unwrap_or_default()).map(Self)
            }

            fn describe(to: &mut InputDescription<'_>) {
                to.parameters.push(json!({
                    "name": $parameter, "in": "path", "required": true,
                    "description": $description, "schema": $schema,
                }));
            }
        }
    };
}

parameter!(User(UserId) = "id", "The id of the user.", { "type": "string", "format": "uuid" }, |text| {
    text.parse().map_err(|_| ApiError::not_found("That user"))
});

parameter!(OwnSession(SessionId) = "id", "The id of the session.", { "type": "string", "format": "uuid" }, |text| {
    text.parse().map_err(|_| ApiError::not_found("That session"))
});

parameter!(Session(SessionId) = "session", "The id of the session.", { "type": "string", "format": "uuid" }, |text| {
    text.parse().map_err(|_| ApiError::not_found("That session"))
});

parameter!(ApiKey(SessionId) = "id", "The id of the API key.", { "type": "string", "format": "uuid" }, |text| {
    text.parse().map_err(|_| ApiError::not_found("That API key"))
});

parameter!(Role(portcullis_model::Role) = "role", "The name of the role.", { "$ref": "#/components/schemas/Role" }, |text| {
    text.parse().map_err(|_| ApiError::not_found("That role"))
});

parameter!(Permission(portcullis_model::Permission) = "permission", "The name of the permission.", { "$ref": "#/components/schemas/Permission" }, |text| {
    portcullis_model::Permission::parse(text).map_err(|rejected| ApiError::invalid_path(vec![rejected.0]))
});

parameter!(ErrorGroup(Uuid) = "id", "The id of the group of errors.", { "type": "string", "format": "uuid" }, |text| {
    text.parse().map_err(|_| ApiError::not_found("That error"))
});

parameter!(RequestId(String) = "requestId", "The id that `X-Request-Id` and `requestId` give.", { "type": "string", "pattern": "^[0-9a-f]{32}$" }, |text| {
    Ok(text.to_owned())
});

//! Vault's answers: a secret, or errors.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{SecretPath, VaultError};
use crate::client::Answer;

/// The newest version of a secret.
pub(super) struct Found {
    pub(super) version: String,
    pub(super) values: Map<String, Value>,
}

/// The longest part of an error of Vault's that a message repeats, in characters.
const MOST_SHOWN: usize = 200;

/// Reads the answer to a read of `data/<path>`.
pub(super) fn secret(answer: &Answer, path: &SecretPath) -> Result<Found, VaultError> {
    let body = json(answer)?;
    match answer.status {
        StatusCode::OK => {
            let version = body.pointer("/data/metadata/version").and_then(Value::as_u64);
            let values = body.pointer("/data/data").and_then(Value::as_object);
            match (version, values) {
                (Some(version), Some(values)) => Ok(Found { version: version.to_string(), values: values.clone() }),
                _ => Err(VaultError::NotVersioned { path: path.to_string() }),
            }
        }
        // Only a version that was deleted or destroyed still has its metadata.
        StatusCode::NOT_FOUND if body.pointer("/data/metadata").is_some() => {
            Err(VaultError::Deleted { path: path.to_string(), command: path.command() })
        }
        StatusCode::NOT_FOUND => Err(VaultError::NotFound { path: path.to_string(), command: path.command() }),
        StatusCode::FORBIDDEN => Err(VaultError::Forbidden { path: path.to_string(), reason: reason(&body) }),
        _ => Err(unwilling(answer, &body)),
    }
}

/// An answer that says that the request was refused.
pub(super) fn unwilling(answer: &Answer, body: &Value) -> VaultError {
    let reason = reason(body);
    if answer.status == StatusCode::SERVICE_UNAVAILABLE && reason.contains("sealed") {
        return VaultError::Sealed;
    }
    VaultError::Unwilling { status: answer.status.as_u16(), reason }
}

/// Reads the body as Vault writes it: a JSON object, or nothing.
pub(super) fn json(answer: &Answer) -> Result<Value, VaultError> {
    if answer.body.is_empty() && !answer.status.is_success() {
        return Ok(Value::Null);
    }
    match serde_json::from_slice(&answer.body) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        _ => Err(VaultError::NotVault { status: answer.status.as_u16() }),
    }
}

/// Takes Vault's own words, in one line. Vault puts no secret into them.
pub(super) fn reason(body: &Value) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    let errors = Errors::deserialize(body).map(|body| body.errors).unwrap_or_default();
    let words: Vec<&str> = errors.iter().flat_map(|error| error.split_whitespace()).collect();
    match words.join(" ") {
        text if text.is_empty() => "it says no more".to_owned(),
        text => text.chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect(),
    }
}

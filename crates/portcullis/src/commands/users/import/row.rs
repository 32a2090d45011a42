//! A row of a source: how its values become a user.

use portcullis_identity::ImportRow;
use portcullis_model::SecretString;
use serde_json::{Map, Value};

use super::import_run::ImportRun;
use crate::commands::output::Failure;

/// Adds the row of a line to the import, or refuses it. The members have the names of [`COLUMNS`](super::COLUMNS).
pub(super) async fn submit(run: &mut ImportRun<'_>, line: u64, members: Map<String, Value>) -> Result<(), Failure> {
    let email = members.get("email").and_then(Value::as_str).unwrap_or_default().to_owned();
    match row(members) {
        Ok(row) => run.add(line, row).await,
        Err(problem) => run.refuse(line, &email, &problem),
    }
}

/// Converts the members to a row. Truth values and lists may be texts, as in CSV.
fn row(mut members: Map<String, Value>) -> Result<ImportRow, String> {
    let mut text = |name: &str| match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be a text")),
    };
    let (id, email, username) = (text("id")?, text("email")?, text("username")?);
    let (first_name, last_name, avatar) = (text("firstName")?, text("lastName")?, text("avatar")?);
    let (password, role, created_at) = (text("password")?, text("role")?, text("createdAt")?);
    let mut flag = |name: &str| match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" => Ok(Some(true)),
            "false" | "f" | "0" | "no" => Ok(Some(false)),
            _ => Err(format!("{name} must be true or false")),
        },
        Some(_) => Err(format!("{name} must be true or false")),
    };
    let (is_active, is_email_verified) = (flag("isActive")?, flag("isEmailVerified")?);
    let permissions = match members.remove("permissions") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(names)) => {
            let names = names.into_iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            names.ok_or_else(|| "permissions must be a list of texts".to_owned())?
        }
        Some(_) => return Err("permissions must be a list of texts".to_owned()),
    };
    Ok(ImportRow {
        id,
        email: email.unwrap_or_default(),
        username: username.unwrap_or_default(),
        first_name: first_name.unwrap_or_default(),
        last_name: last_name.unwrap_or_default(),
        avatar,
        password: password.map(SecretString::new),
        role,
        is_active,
        is_email_verified,
        created_at,
        permissions,
    })
}

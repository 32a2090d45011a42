//! `portcullis users export`: prints every user in the form that `import` reads.

use std::io::Write as _;

use portcullis_model::user::rfc3339_millis;
use portcullis_model::{Permission, SecretString};
use portcullis_storage::{Credentials, Store};
use serde_json::{Value, json};

use super::import::{COLUMNS, FileFormat};
use crate::commands::output::Failure;

#[derive(clap::Args, Debug)]
pub(crate) struct Export {
    /// The format of the output
    #[arg(long, value_enum, default_value = "ndjson")]
    format: FileFormat,
    /// Include the password hashes; anyone who has them can try to guess passwords
    #[arg(long)]
    with_password_hashes: bool,
}

/// The most users that are read at a time.
const PAGE: u64 = 1000;

pub(crate) async fn run(store: &Store, arguments: &Export) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!("the users cannot be written: {error}"))
            .hint("free space on the disk, or choose another file")
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut csv = csv::Writer::from_writer(Vec::new());
    if arguments.format == FileFormat::Csv {
        csv.write_record(COLUMNS).map_err(|error| failed(error.into()))?;
    }
    let mut last = None;
    loop {
        let page = store.credentials_after(last, PAGE).await.map_err(|error| Failure::of_error(&error))?;
        let Some(end) = page.last() else { break };
        last = Some(end.user.id);
        // The demo account is made from settings at the start, and an import refuses its id.
        for known in page.iter().filter(|known| !known.user.id.is_demo()) {
            let document = document(known, arguments.with_password_hashes);
            match arguments.format {
                FileFormat::Ndjson => writeln!(out, "{document}").map_err(failed)?,
                FileFormat::Csv => {
                    csv.write_record(COLUMNS.map(|name| cell(&document[name])))
                        .map_err(|error| failed(error.into()))?;
                }
            }
        }
        csv.flush().map_err(failed)?;
        out.write_all(csv.get_ref()).map_err(failed)?;
        csv = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    }
    let rest = csv.into_inner().map_err(|error| failed(error.into_error()))?;
    out.write_all(&rest).and_then(|()| out.flush()).map_err(failed)
}

fn document(known: &Credentials, with_hash: bool) -> Value {
    let user = &known.user;
    let hash = known.password_hash.as_ref().filter(|_| with_hash);
    json!({
        "id": user.id,
        "email": user.email,
        "username": user.username,
        "firstName": user.first_name,
        "lastName": user.last_name,
        "password": hash.map(SecretString::expose),
        "role": user.role,
        "isActive": user.is_active,
        "isEmailVerified": user.is_email_verified(),
        "createdAt": rfc3339_millis(user.created_at),
        "avatar": user.avatar,
        "permissions": known.extra_permissions.iter().map(Permission::as_str).collect::<Vec<_>>(),
    })
}

/// Renders a value as a cell of CSV: null is empty, and the members of a list are separated by spaces.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(members) => members.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

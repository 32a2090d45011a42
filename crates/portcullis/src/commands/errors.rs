//! `portcullis errors`: lists the gateway's own errors and deletes them.

use clap::Subcommand;
use portcullis_api::ErrorEntry;
use portcullis_identity::{Actor, Caller, Identity, IdentityError};
use portcullis_model::user::rfc3339_millis;
use portcullis_settings::Settings;
use portcullis_storage::{ErrorGroup, MOST_ERROR_GROUPS, PageStart, Store};
use serde_json::json;
use uuid::Uuid;

use super::identity::with_identity;
use super::output::{Failure, print, print_json};
use super::{Format, table};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the errors, the last seen first
    #[command(after_help = "\
The errors are panics, 5xx responses of the gateway's own making, and failed jobs, of all replicas. Errors
with one cause are one line. The log has more about REQUEST.

Examples:
  portcullis errors list
  portcullis errors list --json | jq -r '.errors[] | select(.kind == \"panic\") | .message'")]
    List(Format),
    /// Delete an error that was dealt with
    #[command(after_help = "\
If it happens again, it is listed again, counted from one.

Examples:
  portcullis errors delete 0198c0de-0000-7000-8000-000000000009")]
    Delete(Delete),
}

#[derive(clap::Args, Debug)]
pub(super) struct Delete {
    /// The id of the error, as `errors list` shows it
    id: Uuid,
    #[command(flatten)]
    format: Format,
}

/// The most characters of a message in the table; `--json` has the whole of it.
const MESSAGE_WIDTH: usize = 100;

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    with_identity(settings, async |identity, store| match command {
        Command::List(format) => list(store, format).await,
        Command::Delete(arguments) => delete(identity, &arguments).await,
    })
}

async fn list(store: &Store, format: Format) -> Result<(), Failure> {
    let found = store.errors_from(MOST_ERROR_GROUPS, PageStart::Offset(0)).await;
    let groups = found.map_err(|error| Failure::of_error(&error))?.groups;
    if format.json {
        let errors: Vec<ErrorEntry> = groups.into_iter().map(ErrorEntry::from).collect();
        print_json(&json!({ "errors": errors }));
        return Ok(());
    }
    if groups.is_empty() {
        print("No error was recorded.\n");
        return Ok(());
    }
    let header = ["ID", "KIND", "COUNT", "LAST SEEN", "ROUTE", "REQUEST", "MESSAGE"];
    print(&table::render(&header, &groups.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

fn row(group: &ErrorGroup) -> Vec<String> {
    // A message may come from outside: no part of it may reach the terminal as a command.
    let message = group.message.chars().map(|c| if c.is_control() { ' ' } else { c });
    vec![
        group.id.to_string(),
        group.kind.clone(),
        group.times.to_string(),
        rfc3339_millis(group.last_seen_at),
        group.route.clone().unwrap_or_default(),
        group.last_request_id.clone().unwrap_or_default(),
        message.take(MESSAGE_WIDTH).collect(),
    ]
}

async fn delete(identity: &Identity, arguments: &Delete) -> Result<(), Failure> {
    let Delete { id, format } = arguments;
    match identity.administration.delete_errors(&Actor::Shell, *id, &Caller::shell()).await {
        Ok(()) if format.json => print_json(&json!({ "deleted": id })),
        Ok(()) => print(&format!("Deleted the error {id}.\n")),
        Err(IdentityError::NotFound) => {
            let hint = "`portcullis errors list` shows the ids; it may have been deleted already";
            return Err(Failure::new(format!("no error has the id {id}")).hint(hint));
        }
        Err(error) => return Err(Failure::of_error(&error)),
    }
    Ok(())
}

//! `portcullis audit export`: prints the audit log as JSON lines.

use std::io::Write as _;

use clap::Subcommand;
use portcullis_api::AuditEntry;
use portcullis_model::{ApiTime, Timestamp, UserId};
use portcullis_settings::Settings;
use portcullis_storage::{AuditFilter, Outcome, Store};

use super::identity::with_identity;
use super::output::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the audit log, oldest first, one JSON object a line
    #[command(after_help = "\
Events stay in the database for audit.keep.

Examples:
  portcullis audit export --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z > january.ndjson
  portcullis audit export --outcome failure | jq -r .ip | sort | uniq -c")]
    Export(Export),
}

#[derive(clap::Args, Debug)]
pub(super) struct Export {
    /// Only events at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Only events before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// Only events that this user caused, or that concern this user
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// Only events with this action
    #[arg(long)]
    action: Option<String>,
    /// Only events with this outcome: success or failure
    #[arg(long)]
    outcome: Option<Outcome>,
}

/// The most events that are read at a time.
const PAGE: u64 = 1000;

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    let Command::Export(arguments) = command;
    with_identity(settings, async |_, store| export(store, arguments).await)
}

async fn export(store: &Store, arguments: Export) -> Result<(), Failure> {
    let Export { from, to, user, action, outcome } = arguments;
    let filter = AuditFilter { user, action, outcome, from, to };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut last = None;
    loop {
        let page = store.audit_after(&filter, last, PAGE).await.map_err(|error| Failure::of_error(&error))?;
        let Some(end) = page.last() else { break };
        last = Some((end.at, end.id));
        for record in page {
            // A closed pipe (`| head`) is not a failure.
            let entry = serde_json::to_value(AuditEntry::from(record)).map_err(|error| Failure::of_error(&error))?;
            if writeln!(out, "{entry}").is_err() {
                return Ok(());
            }
        }
    }
    let _ = out.flush();
    Ok(())
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    ApiTime::parse(text).map(|at| at.0).ok_or("write a time as in 2026-01-31T12:00:00Z (RFC 3339)")
}

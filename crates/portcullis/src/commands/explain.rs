//! `portcullis explain`: what the gate would decide about a request, by the settings on disk. Nothing is sent or counted.
//! The database is opened only when a user or a credential has to be looked up.

use std::net::IpAddr;
use std::sync::Arc;

use clap::Args;
use portcullis_api::{Explanation, NOBODY, THIS_MACHINE};
use portcullis_gate::{DryRun, DryRunCaller};
use portcullis_settings::Settings;
use serde_json::Value;

use super::identity::with_identity;
use super::output::{Failure, print, print_json};
use super::{Format, runtime};
use crate::assembly::dry_run;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The method, such as GET
    method: String,
    /// The path or URL, such as /api/v1/projects/7
    url: String,
    /// The user who sends it: an e-mail address or id, or "nobody" [default: by the credential in the headers]
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// A header of the request, "Name: value"; can be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The address of the client
    #[arg(long, value_name = "ADDRESS", default_value_t = THIS_MACHINE)]
    address: IpAddr,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(settings: &Settings, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { method, url, user, headers, address, format } = arguments;
    let mut dry_run = portcullis_api::parse_dry_run(&method, &url, &headers, address)
        .map_err(|problems| Failure::new(problems.join("; ")).hint("portcullis explain GET /api/v1/users"))?;
    if user.as_deref() == Some(NOBODY) {
        dry_run.caller = DryRunCaller::Anonymous;
    }
    let has_credential =
        ["authorization", "cookie", "x-api-key"].iter().any(|name| dry_run.headers.contains_key(*name));
    let document = match user.filter(|user| user != NOBODY) {
        None if !has_credential || matches!(dry_run.caller, DryRunCaller::Anonymous) => {
            without_database(settings, &dry_run)?
        }
        user => {
            let mut document = Value::Null;
            with_identity(settings, async |identity, _| {
                if let Some(user) = &user {
                    let known = identity
                        .administration
                        .hypothetical_session(user)
                        .await
                        .map_err(|error| Failure::of_error(&error))?;
                    let session = known.ok_or_else(|| {
                        Failure::new(format!("no active user has the id or e-mail address {user:?}"))
                            .hint("`portcullis users list` lists the users")
                    })?;
                    dry_run.caller = DryRunCaller::SignedIn(Arc::new(session));
                }
                let explanation = dry_run::explain(settings, Some(identity), &dry_run).await;
                let explanation = explanation.map_err(|error| Failure::of_error(&error).optional_hint(error.hint()))?;
                document = to_json(&Explanation::new(&dry_run, &explanation))?;
                Ok(())
            })?;
            document
        }
    };
    if format.json {
        print_json(&document);
    } else {
        print(&text(&document));
    }
    Ok(())
}

/// Judges a request for which no user has to be looked up.
fn without_database(settings: &Settings, dry_run: &DryRun) -> Result<Value, Failure> {
    let runtime = runtime::start()?;
    let explanation = runtime.block_on(dry_run::explain(settings, None, dry_run));
    let explanation = explanation.map_err(|error| Failure::of_error(&error).optional_hint(error.hint()))?;
    to_json(&Explanation::new(dry_run, &explanation))
}

fn to_json(explanation: &Explanation) -> Result<Value, Failure> {
    serde_json::to_value(explanation).map_err(|error| Failure::of_error(&error))
}

/// Renders a line for each phase, then the verdict.
fn text(document: &Value) -> String {
    let word = |key: &str| document[key].as_str().unwrap_or("-").to_owned();
    let mut text = format!("{} {} from {}\n", word("method"), word("path"), word("address"));
    for step in document["phases"].as_array().into_iter().flatten() {
        let mark = if step["outcome"] == "refused" { "✗" } else { "✓" };
        let phase = step["phase"].as_str().unwrap_or_default();
        let notes: Vec<&str> = step["notes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        text.push_str(format!("  {mark} {phase:<14}  {}", notes.join("; ")).trim_end());
        text.push('\n');
    }
    if document["verdict"] == "permitted" {
        text.push_str(&format!("It would be permitted and go to {}.\n", word("destination")));
    } else if document["verdict"] == "preflight" {
        text.push_str("It is a CORS preflight, which the gate answers itself with 204.\n");
    } else {
        let (status, code) = (&document["status"], word("code"));
        text.push_str(&format!("It would be refused: {status} {code}. {}\n", word("message")));
    }
    text
}

//! `portcullis explain`: what would become of a request, by the settings at hand. Nothing is sent and nothing is
//! counted; the database is opened only when it must be known who calls.

use std::net::IpAddr;
use std::sync::Arc;

use clap::Args;
use portcullis_api::{NOBODY, THIS_MACHINE, explanation_json};
use portcullis_gate::{Rehearsal, RehearsedCaller};
use serde_json::Value;

use super::Format;
use super::identity::with_identity;
use super::output::{Failure, print, print_json};
use crate::assembly;
use portcullis_settings::Settings;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The method, such as GET
    method: String,
    /// The path or address, such as /api/v1/projects/7
    url: String,
    /// Who calls: an e-mail address or id, or "nobody" [default: whoever the headers say]
    #[arg(long = "as", value_name = "PERSON")]
    person: Option<String>,
    /// A header of the request, "Name: value"; several times for more
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The address that connects
    #[arg(long, value_name = "ADDRESS", default_value_t = THIS_MACHINE)]
    address: IpAddr,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(settings: &Settings, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { method, url, person, headers, address, format } = arguments;
    let mut rehearsal = portcullis_api::rehearsal(&method, &url, &headers, address)
        .map_err(|problems| Failure::new(problems.join("; ")).hint("portcullis explain GET /api/v1/users"))?;
    if person.as_deref() == Some(NOBODY) {
        rehearsal.caller = RehearsedCaller::Nobody;
    }
    let says_who = ["authorization", "cookie", "x-api-key"].iter().any(|name| rehearsal.headers.contains_key(*name));
    let document = match person.filter(|person| person != NOBODY) {
        None if !says_who || matches!(rehearsal.caller, RehearsedCaller::Nobody) => alone(settings, &rehearsal)?,
        person => {
            let mut document = Value::Null;
            with_identity(settings, async |identity| {
                if let Some(person) = &person {
                    let known = identity.stand_in(person).await.map_err(|error| Failure::of_error(&error))?;
                    let session = known.ok_or_else(|| {
                        Failure::new(format!("no account that may sign in has the id or e-mail address {person:?}"))
                            .hint("portcullis users list shows who there is")
                    })?;
                    rehearsal.caller = RehearsedCaller::SignedIn(Arc::new(session));
                }
                let explanation = assembly::explain(settings, Some(identity), &rehearsal).await;
                let explanation = explanation.map_err(|error| Failure::of_error(&error).maybe_hint(error.hint()))?;
                document = explanation_json(&rehearsal, &explanation);
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

/// Without anybody to look up.
fn alone(settings: &Settings, rehearsal: &Rehearsal) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::new(format!("the command cannot be run: {error}")))?;
    let explanation = runtime.block_on(assembly::explain(settings, None, rehearsal));
    let explanation = explanation.map_err(|error| Failure::of_error(&error).maybe_hint(error.hint()))?;
    Ok(explanation_json(rehearsal, &explanation))
}

/// A line for each phase, and the verdict.
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
        text.push_str(&format!("It would be let through, to {}.\n", word("destination")));
    } else if document["status"] == 204 {
        text.push_str("It is a CORS preflight: the gate answers it itself, with 204.\n");
    } else {
        let (status, code) = (&document["status"], word("code"));
        text.push_str(&format!("It would be refused: {status} {code}. {}\n", word("message")));
    }
    text
}

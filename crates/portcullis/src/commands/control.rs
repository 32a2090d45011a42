//! `portcullis reload` and `portcullis limits`: asking the running gateway over the socket in its data folder.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Format;
use super::output::{Failure, print, print_json};
use super::table;
use crate::serve::Reloaded;
use portcullis_settings::Settings;

/// A gateway that takes longer has other troubles.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(super) enum Limits {
    /// Show the limits in force, and how somebody stands with them
    #[command(after_help = "\
Without anybody named it lists the limits. Counts of a process without Redis are that process's own.

Examples:
  portcullis limits show
  portcullis limits show --address 203.0.113.7
  portcullis limits show --user ada@example.com --json")]
    Show {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        format: Format,
    },
    /// Forget what somebody has spent
    #[command(after_help = "\
It is written to the audit log.

Examples:
  portcullis limits reset --address 203.0.113.7
  portcullis limits reset --user ada@example.com --name route")]
    Reset {
        #[command(flatten)]
        whom: Whom,
        /// Only limits of this name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        format: Format,
    },
}

/// Somebody whom limits count.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub(super) struct Whom {
    /// A client's address; of IPv6 its /64 counts
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// E-mail address or id of an account
    #[arg(long, value_name = "PERSON")]
    user: Option<String>,
    /// Id of an API key
    #[arg(long, value_name = "ID")]
    api_key: Option<String>,
}

impl Whom {
    fn query(&self) -> form_urlencoded::Serializer<'static, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(address) = self.address {
            query.append_pair("address", &address.to_string());
        }
        if let Some(user) = &self.user {
            query.append_pair("user", user);
        }
        if let Some(key) = &self.api_key {
            query.append_pair("api-key", key);
        }
        query
    }

    fn is_nobody(&self) -> bool {
        self.address.is_none() && self.user.is_none() && self.api_key.is_none()
    }
}

pub(super) fn reload(settings: &Settings, format: Format) -> Result<(), Failure> {
    let answer = ask(settings, "POST", "/reload")?;
    if format.json {
        print_json(&answer);
        return Ok(());
    }
    let reloaded: Reloaded = serde_json::from_value(answer).map_err(|error| Failure::of_error(&error))?;
    let Reloaded { routes, upstreams, waiting_for_restart, warnings } = reloaded;
    let mut text = format!("The settings are in force: {routes} routes, {upstreams} upstreams.\n");
    if !waiting_for_restart.is_empty() {
        text.push_str(&format!("At the next start only: {}.\n", waiting_for_restart.join(", ")));
    }
    for warning in warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    print(&text);
    Ok(())
}

pub(super) fn limits(settings: &Settings, command: Limits) -> Result<(), Failure> {
    match command {
        Limits::Show { whom, format } => {
            let answer = ask(settings, "GET", &format!("/limits?{}", whom.query().finish()))?;
            if format.json {
                print_json(&answer);
            } else {
                show(&answer);
            }
        }
        Limits::Reset { whom, name, format } => {
            if whom.is_nobody() {
                return Err(Failure::new("it must be said whose limits").hint("add --address, --user or --api-key"));
            }
            let mut query = whom.query();
            if let Some(name) = &name {
                query.append_pair("name", name);
            }
            let answer = ask(settings, "DELETE", &format!("/limits?{}", query.finish()))?;
            if format.json {
                print_json(&answer);
            } else {
                let everywhere = answer["everywhere"] == true;
                let where_ = if everywhere { "" } else { " in this process; Redis could not be reached" };
                print(&format!("Forgotten, of {} limits{where_}.\n", answer["limits"]));
            }
        }
    }
    Ok(())
}

fn show(answer: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let Some(standings) = answer["standings"].as_array() else {
        let limits = answer["limits"].as_array().into_iter().flatten();
        let rows: Vec<_> =
            limits.map(|limit| ["name", "rate", "by", "route"].map(|key| text(&limit[key])).to_vec()).collect();
        print(&table::render(&["NAME", "RATE", "BY", "ROUTE"], &rows));
        return;
    };
    if standings.is_empty() {
        print("Nothing was spent of any limit.\n");
        return;
    }
    let row = |standing: &Value| {
        vec![
            text(&standing["name"]),
            text(&standing["rate"]),
            standing["remaining"].to_string(),
            format!("{:.0} s", standing["resetSeconds"].as_f64().unwrap_or_default().ceil()),
            text(&standing["route"]),
        ]
    };
    let rows: Vec<_> = standings.iter().map(row).collect();
    print(&table::render(&["NAME", "RATE", "LEFT", "WHOLE IN", "ROUTE"], &rows));
}

/// Asks the running gateway, and gives its answer.
fn ask(settings: &Settings, method: &str, target: &str) -> Result<Value, Failure> {
    let Some(path) = &settings.server.control_socket else {
        return Err(Failure::new("server.control_socket is off").hint("the HTTP API can be asked: /api/v1/gateway"));
    };
    let exchange = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!("{method} {target} HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| {
        Failure::new(format!("no gateway answers at {}: {error}", path.display()))
            .hint("is it running, with the same settings and as this user? --data-dir and server.control_socket choose the place")
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let value: Value = serde_json::from_str(body)
        .map_err(|_| Failure::new(format!("what answers at {} is no gateway", path.display())))?;
    if head.starts_with("HTTP/1.1 200") {
        return Ok(value);
    }
    let why = value["error"].as_str().unwrap_or("it did not say why");
    // Problems of settings are several lines, each with its place and hint.
    Err(Failure::new(if why.contains('\n') { format!("the gateway refused:\n{why}") } else { why.to_owned() }))
}

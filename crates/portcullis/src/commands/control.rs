//! `portcullis reload` and `portcullis limits`: requests to the running gateway over its control socket.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use clap::{Args, Subcommand};
use portcullis_settings::Settings;
use serde_json::Value;

use super::Format;
use super::output::{Failure, print, print_json};
use super::table;
use crate::serve::Reloaded;

/// How long the gateway may take to respond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(super) enum Limits {
    /// Show the limits in force, or the state of the limits of one address, user or API key
    #[command(after_help = "\
Without an option it lists the limits. Without Redis each process counts for itself, and this shows
the counts of the running one.

Examples:
  portcullis limits show
  portcullis limits show --address 203.0.113.7
  portcullis limits show --user ada@example.com --json")]
    Show {
        #[command(flatten)]
        key: RateLimitKey,
        #[command(flatten)]
        format: Format,
    },
    /// Reset the limits of one address, user or API key
    #[command(after_help = "\
The reset is written to the audit log.

Examples:
  portcullis limits reset --address 203.0.113.7
  portcullis limits reset --user ada@example.com --name route")]
    Reset {
        #[command(flatten)]
        key: RateLimitKey,
        /// Reset only the limits with this name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        format: Format,
    },
}

/// The key of rate limits: the address, user or API key that they count.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub(super) struct RateLimitKey {
    /// The address of a client; an IPv6 address stands for its /64
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// The e-mail address or id of a user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The id of an API key
    #[arg(long, value_name = "ID")]
    api_key: Option<String>,
}

impl RateLimitKey {
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

    fn is_empty(&self) -> bool {
        self.address.is_none() && self.user.is_none() && self.api_key.is_none()
    }
}

pub(super) fn reload(settings: &Settings, format: Format) -> Result<(), Failure> {
    let response = send(settings, "POST", "/reload")?;
    if format.json {
        print_json(&response);
        return Ok(());
    }
    let reloaded: Reloaded = serde_json::from_value(response).map_err(|error| Failure::of_error(&error))?;
    let Reloaded { routes, upstreams, waiting_for_restart, warnings } = reloaded;
    let mut text = format!("The settings are in force: {routes} routes, {upstreams} upstreams.\n");
    if !waiting_for_restart.is_empty() {
        text.push_str(&format!(
            "These changed keys take effect at the next start: {}.\n",
            waiting_for_restart.join(", ")
        ));
    }
    for warning in warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    print(&text);
    Ok(())
}

pub(super) fn limits(settings: &Settings, command: Limits) -> Result<(), Failure> {
    match command {
        Limits::Show { key, format } => {
            let response = send(settings, "GET", &format!("/limits?{}", key.query().finish()))?;
            if format.json {
                print_json(&response);
            } else {
                show(&response);
            }
        }
        Limits::Reset { key, name, format } => {
            if key.is_empty() {
                return Err(
                    Failure::new("no address, user or API key is named").hint("specify --address, --user or --api-key")
                );
            }
            let mut query = key.query();
            if let Some(name) = &name {
                query.append_pair("name", name);
            }
            let response = send(settings, "DELETE", &format!("/limits?{}", query.finish()))?;
            if format.json {
                print_json(&response);
            } else {
                let everywhere = response["everywhere"] == true;
                let scope = if everywhere { "" } else { " in this process only, because Redis could not be reached" };
                print(&format!("Reset {} limits{scope}.\n", response["limits"]));
            }
        }
    }
    Ok(())
}

fn show(response: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let Some(states) = response["standings"].as_array() else {
        let limits = response["limits"].as_array().into_iter().flatten();
        let rows: Vec<_> =
            limits.map(|limit| ["name", "rate", "by", "route"].map(|key| text(&limit[key])).to_vec()).collect();
        print(&table::render(&["NAME", "RATE", "BY", "ROUTE"], &rows));
        return;
    };
    if states.is_empty() {
        print("No request was counted against a limit.\n");
        return;
    }
    let row = |state: &Value| {
        vec![
            text(&state["name"]),
            text(&state["rate"]),
            state["remaining"].to_string(),
            format!("{:.0} s", state["resetSeconds"].as_f64().unwrap_or_default().ceil()),
            text(&state["route"]),
        ]
    };
    let rows: Vec<_> = states.iter().map(row).collect();
    print(&table::render(&["NAME", "RATE", "REMAINING", "RESET IN", "ROUTE"], &rows));
}

/// Sends a request to the running gateway for another part of the program; the error is a sentence.
pub(crate) fn ask_gateway(settings: &Settings, method: &str, target: &str) -> Result<Value, String> {
    send(settings, method, target).map_err(|failure| failure.message().to_owned())
}

/// Sends a request to the running gateway and returns the body of its response.
pub(super) fn send(settings: &Settings, method: &str, target: &str) -> Result<Value, Failure> {
    let Some(path) = &settings.server.control_socket else {
        return Err(Failure::new("server.control_socket is off")
            .hint("use the HTTP API under /api/v1/gateway, or set server.control_socket"));
    };
    let exchange = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        let request = format!("{method} {target} HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response)
    };
    let response = exchange().map_err(|error| {
        Failure::new(format!("no gateway answers at {}: {error}", path.display()))
            .hint("check that it runs with the same settings and as this user; --data-dir and server.control_socket name the socket")
    })?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    let value: Value = serde_json::from_str(body).map_err(|_| {
        Failure::new(format!("the process that answers at {} is not a gateway", path.display()))
            .hint("set server.control_socket to the socket of the gateway")
    })?;
    if head.starts_with("HTTP/1.1 200") {
        return Ok(value);
    }
    let why = value["error"].as_str().unwrap_or("it gave no reason");
    // Problems of settings have several lines, each with its place and hint.
    Err(Failure::new(if why.contains('\n') { format!("the gateway refused:\n{why}") } else { why.to_owned() }))
}

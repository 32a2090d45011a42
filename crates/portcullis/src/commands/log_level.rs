//! `portcullis log-level`: the log level of the running gateway.

use std::time::Duration;

use clap::Args;
use portcullis_model::duration::parse_duration;
use portcullis_settings::Settings;

use super::Format;
use super::control::send;
use super::output::{Failure, print, print_json};
use crate::serve::LogLevelInForce;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// A level, or levels of single modules; what it does not name keeps its level
    #[arg(value_name = "SPEC")]
    spec: Option<String>,
    /// How long it holds (10m, 1h); then the settings hold again
    #[arg(long = "for", value_name = "DURATION", requires = "spec", value_parser = at_least_a_second)]
    duration: Option<Duration>,
    /// Go back to the level of the settings
    #[arg(long, conflicts_with = "spec")]
    reset: bool,
    #[command(flatten)]
    format: Format,
}

fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|reason| reason.to_string())?;
    if duration.is_zero() { Err("write at least 1s".to_owned()) } else { Ok(duration) }
}

pub(super) fn run(settings: &Settings, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { spec, duration, reset, format } = arguments;
    let response = match spec {
        Some(spec) => {
            portcullis_settings::parse_log_filter(&spec)
                .map_err(|reason| Failure::new(format!("{spec:?} is no log level")).hint(reason.to_string()))?;
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("filter", &spec);
            if let Some(duration) = duration {
                query.append_pair("seconds", &duration.as_secs().to_string());
            }
            send(settings, "POST", &format!("/log-level?{}", query.finish()))?
        }
        None if reset => send(settings, "DELETE", "/log-level")?,
        None => send(settings, "GET", "/log-level")?,
    };
    if format.json {
        print_json(&response);
        return Ok(());
    }
    let in_force: LogLevelInForce = serde_json::from_value(response).map_err(|error| Failure::of_error(&error))?;
    let LogLevelInForce { level, configured, until } = in_force;
    let and_then = match until {
        Some(until) => format!(" until {until}, and then {configured}"),
        None if level == configured => String::new(),
        None => format!("; the settings say {configured}"),
    };
    print(&format!("The log level is {level}{and_then}.\n"));
    Ok(())
}

//! What the process prints once it listens.

use std::io::Write as _;
use std::net::SocketAddr;

use portcullis_identity::Identity;
use portcullis_model::policy::Environment;

use crate::assembly::StartError;
use portcullis_settings::Settings;
use portcullis_telemetry::LogFormat;

/// Prints the addresses and, while there is no administrator, a link that makes the first one.
pub(super) async fn print(
    settings: &Settings,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    base_url: &str,
    identity: &Identity,
) -> Result<(), StartError> {
    let mut text = format!("Portcullis {} ({})\n", env!("CARGO_PKG_VERSION"), settings.environment.as_str());
    text.push_str(&format!("listening on http://{address}\n"));
    if let Some(metrics) = metrics {
        text.push_str(&format!("metrics on http://{metrics}/metrics\n"));
    }
    if let Some(file) = &settings.config_file {
        text.push_str(&format!("settings from {}\n", file.display()));
    }
    // The link is a secret: it may be printed on a terminal, but not into logs that are collected (SR-45).
    let may_print_link = settings.environment != Environment::Production && settings.log.format != LogFormat::Json;
    if may_print_link {
        let token = identity.registration.first_administrator_token().await.map_err(StartError::FirstAdministrator)?;
        if let Some(token) = token {
            text.push_str(&format!(
                "make the first administrator (once, within 30 minutes): {base_url}/setup#{}\n",
                token.expose()
            ));
        }
    }
    text.push_str("ready\n");
    let mut out = std::io::stdout().lock();
    // The gateway serves even if standard output is closed.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(())
}

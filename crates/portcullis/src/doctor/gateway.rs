//! Whether a gateway runs on this machine, which process it is, and whether it is ready.

use std::path::Path;
use std::time::Duration;

use portcullis_model::Finding;
use portcullis_settings::{Settings, reachable};
use tokio::net::UnixStream;

use crate::commands::{proxy_header, request_status};

const CHECK: &str = "gateway";
/// The longest wait for a gateway to accept a connection.
const LIMIT: Duration = Duration::from_secs(2);

/// The running gateway, if there is one.
pub(super) struct Gateway {
    /// The id of its process.
    pub(super) process: Option<u32>,
    pub(super) finding: Finding,
}

/// Looks for the gateway by its control socket, to which it says nothing.
pub(super) async fn find(settings: &Settings) -> Gateway {
    let Some(path) = &settings.server.control_socket else {
        let finding = Finding::pass(CHECK, "not known, because server.control_socket is off");
        return Gateway { process: None, finding };
    };
    let Some(process) = process_at(path).await else {
        let text = format!("none runs here (nobody answers at {})", path.display());
        return Gateway { process: None, finding: Finding::pass(CHECK, text) };
    };
    Gateway { process: Some(process), finding: judge(settings, process).await }
}

async fn process_at(path: &Path) -> Option<u32> {
    let connecting = tokio::time::timeout(LIMIT, UnixStream::connect(path)).await;
    let peer = connecting.ok()?.ok()?.peer_cred().ok()?;
    u32::try_from(peer.pid()?).ok()
}

async fn judge(settings: &Settings, process: u32) -> Finding {
    let address = reachable(settings.server.listen);
    let running = format!("process {process} runs");
    if address.port() == 0 {
        return Finding::pass(CHECK, format!("{running}, on a port that it chose"));
    }
    let header = proxy_header(settings);
    let asked = tokio::task::spawn_blocking(move || request_status(address, header)).await;
    match asked.unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into())) {
        Ok(200) => Finding::pass(CHECK, format!("{running} and is ready at {address}")),
        Ok(status) => Finding::warn(
            CHECK,
            format!("{running} and is not ready: {address} answers {status}"),
            "it is starting, stopping, or cannot reach its database; see its log",
        ),
        Err(error) => Finding::warn(
            CHECK,
            format!("{running} and {address} does not answer: {error}"),
            "run this command with the settings of the gateway; its log says why it does not answer",
        ),
    }
}

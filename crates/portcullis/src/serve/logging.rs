//! Logs: one line an event on standard error, pretty or as JSON.

use tracing_subscriber::EnvFilter;

use portcullis_settings::{Log, LogFormat};

/// Starts logging. A second start in one process changes nothing.
pub(super) fn start(log: &Log) {
    let filter = EnvFilter::new(&log.filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Pretty => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(terminal).try_init()
        }
    };
    // Only a test starts two gateways in one process.
    drop(started);
}

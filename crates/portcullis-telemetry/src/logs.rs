//! Logs: one line for each event on standard error, as JSON or for reading (`docs/logging.md`).
//!
//! Writing a line never blocks the thread that logs and never ends the process. Lines that cannot be written are dropped
//! and counted in `log_lines_dropped_total`.

mod access_line;
mod escape;
mod filter;
mod line_format;
mod line_queue;
mod panic_report;
mod redaction;
mod request_scope;
mod timestamp;

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use access_line::AccessLine;
pub use filter::{FILTER_TARGET, InvalidFilter, LogFilter, set_filter};
use line_format::LineFormat;
use line_queue::LineQueue;
pub use redaction::{REDACTED, redacted};
pub use request_scope::{
    EnteredScope, MAX_CLIENT_REQUEST_ID_BYTES, REQUEST_ID_BYTES, RequestScope, ScopedFuture, TRACE_ID_BYTES,
};

/// How long the end of the process waits for lines that are not written yet.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The lines that this process could not write so far.
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// The process has one log, as it has one standard error.
static OUTPUT: OnceLock<Output> = OnceLock::new();

/// What is logged and how.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Which lines are logged at first; [`set_filter`] changes it.
    pub filter: LogFilter,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for reading: time, level, target, message and fields.
    Pretty,
    /// One JSON object on each line, for collectors.
    Json,
}

/// Writes the last lines when it is dropped, waiting at most a second. `main` keeps it until the process ends.
#[derive(Debug)]
#[must_use = "the last lines are lost unless this value lives until the process ends"]
pub struct LogGuard(());

/// Where the lines of this process go, and in which form.
struct Output {
    queue: Arc<LineQueue>,
    format: LogFormat,
    /// Whether levels are coloured: only for terminals, and only in the pretty format.
    colours: bool,
}

impl Output {
    /// The log of this process, once it was started.
    fn of_process() -> Option<&'static Self> {
        OUTPUT.get()
    }
}

/// Starts logging to standard error. Only the first call in a process has an effect.
pub fn start(options: &LogOptions) -> LogGuard {
    let Output { queue, format, colours } = OUTPUT.get_or_init(|| {
        let queue = Arc::new(LineQueue::new(&DROPPED));
        start_writer(&queue);
        let colours = options.format == LogFormat::Pretty && std::io::stderr().is_terminal();
        Output { queue, format: options.format, colours }
    });
    let writer: &'static LineQueue = queue;
    let log = tracing_subscriber::fmt()
        // It would print its own errors to standard error, and panic if that fails.
        .log_internal_errors(false)
        .with_env_filter(options.filter.to_env_filter())
        .event_format(LineFormat { format: *format, colours: *colours })
        .with_writer(move || writer)
        .with_filter_reloading();
    let filter = log.reload_handle();
    if log.try_init().is_ok() {
        // It fails only when the log has ended, and with it the process.
        filter::can_be_replaced_by(Box::new(move |new| drop(filter.reload(new))));
        panic_report::install(|| writer.flush(FLUSH_LIMIT));
    }
    LogGuard(())
}

/// The number of lines that this process could not write so far.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Writes to a descriptor of its own: `std::io::stderr` has a lock, which a stuck write would hold for ever.
fn start_writer(queue: &Arc<LineQueue>) {
    let Ok(stderr) = std::io::stderr().as_fd().try_clone_to_owned() else { return };
    let queue = Arc::clone(queue);
    // Without the thread every line is dropped and counted once the queue is full, and the process serves on.
    let _ = std::thread::Builder::new().name("log-writer".to_owned()).spawn(move || queue.write_to(File::from(stderr)));
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(Output { queue, .. }) = OUTPUT.get() {
            queue.flush(FLUSH_LIMIT);
        }
    }
}

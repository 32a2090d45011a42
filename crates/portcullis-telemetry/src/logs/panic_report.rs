//! Panics as log lines.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// Reports each panic in the log, with the id of the request that it happened in. The standard hook would write to
/// standard error directly, and wait there for a reader that is stuck.
pub(super) fn install(flush: impl Fn() + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        if cfg!(panic = "abort") {
            flush();
        }
    }));
}

fn report(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("the panic has no message");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    // Empty unless RUST_BACKTRACE asks for one.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(panic = message, location, thread, %backtrace, "a thread panicked");
    } else {
        tracing::error!(panic = message, location, thread, "a thread panicked");
    }
}

//! A panic ends one request, stream, job or task, and nothing else.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::Errors;

thread_local! {
    /// How many calls of [`catch_panic`] this thread is in.
    static CATCHING: Cell<usize> = const { Cell::new(0) };
    /// Where the panic happened that is on its way to [`catch_panic`].
    static ORIGIN: RefCell<Origin> = const { RefCell::new(Origin { location: None, backtrace: None }) };
}

/// A panic that was caught.
#[derive(Debug)]
pub struct Panic {
    message: String,
    origin: Origin,
}

/// Where a panic happened, as far as the hook was told.
#[derive(Debug, Default)]
struct Origin {
    location: Option<String>,
    /// Only for Sentry.
    backtrace: Option<Arc<Backtrace>>,
}

impl Panic {
    /// The text given to `panic!`. It may quote a client's input, so it goes to the log and never into a response.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// File, line and column; `None` before [`Errors::report_panics`].
    pub fn location(&self) -> Option<&str> {
        self.origin.location.as_deref()
    }

    pub(super) fn backtrace(&self) -> Option<&Arc<Backtrace>> {
        self.origin.backtrace.as_ref()
    }

    fn from_payload(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&'static str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self { message: message.unwrap_or(NO_TEXT).to_owned(), origin: ORIGIN.take() }
    }
}

const NO_TEXT: &str = "a panic without a text";

/// Runs `work` and turns a panic inside it into an error.
///
/// The caller must not share state with `work` that a panic can leave half changed; locks that recover from poisoning are
/// fine.
///
/// # Errors
/// When `work` panicked.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    let caught = {
        let _catching = Catching::begin();
        catch_unwind(AssertUnwindSafe(work))
    };
    caught.map_err(|payload| Panic::from_payload(&*payload))
}

/// Polls `future` to its end and turns a panic inside it into an error, on the terms of [`catch_panic`]. It is borrowed
/// pinned, so that no large future is moved.
///
/// # Errors
/// When `future` panicked.
pub fn catch_panic_in<F: Future>(mut future: Pin<&mut F>) -> impl Future<Output = Result<F::Output, Panic>> {
    poll_fn(move |context| {
        // Beside the value of the call: as its value, the output would be copied several times.
        let mut output = None;
        let polled = catch_panic(|| {
            if let Poll::Ready(ready) = future.as_mut().poll(context) {
                output = Some(ready);
            }
        });
        match polled {
            Ok(()) => output.map_or(Poll::Pending, |output| Poll::Ready(Ok(output))),
            // A future that panicked has dropped its variables and is never polled again.
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
}

/// Lets the hook leave a panic to [`catch_panic`] until it is dropped.
struct Catching;

impl Catching {
    fn begin() -> Self {
        CATCHING.set(CATCHING.get() + 1);
        Self
    }
}

impl Drop for Catching {
    fn drop(&mut self) {
        CATCHING.set(CATCHING.get() - 1);
    }
}

/// Adds to the present hook: it tells [`catch_panic`] where a panic happened, and records a panic that nothing of ours
/// catches.
pub(super) fn install_hook(errors: Errors) {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        previous(info);
        note(info, &errors);
    }));
}

fn note(info: &PanicHookInfo<'_>, errors: &Errors) {
    let location = info.location().map(ToString::to_string);
    // Its symbols are not read before it is sent.
    let backtrace = errors.has_sentry().then(|| Arc::new(Backtrace::force_capture()));
    let origin = Origin { location, backtrace };
    if CATCHING.get() > 0 {
        ORIGIN.set(origin);
    } else {
        let message = info.payload_as_str().unwrap_or(NO_TEXT).to_owned();
        errors.panicked(&Panic { message, origin }, None);
    }
}

//! A panic ends one request and nothing else.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// A panic that was caught.
#[derive(Debug)]
pub struct Panic {
    message: String,
}

impl Panic {
    /// The text given to `panic!`. It may quote a client's input, so it goes to the log and never into a response.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Reads the payload that [`catch_unwind`] returns.
    pub fn from_payload(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&'static str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self { message: message.unwrap_or("a panic without a text").to_owned() }
    }
}

/// Polls `future` to its end and turns a panic inside it into an error.
///
/// The caller must not share state with `future` that a panic can leave half changed; locks that recover from poisoning
/// are fine. It is borrowed pinned, so that no large future is moved.
///
/// # Errors
/// When `future` panicked.
pub fn catch_panic<F: Future>(mut future: Pin<&mut F>) -> impl Future<Output = Result<F::Output, Panic>> {
    poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            // A future that panicked has dropped its variables and is never polled again.
            Err(payload) => Poll::Ready(Err(Panic::from_payload(&*payload))),
        }
    })
}

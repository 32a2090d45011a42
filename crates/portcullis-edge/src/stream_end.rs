//! Responses that end with a right: a stream whose client reads nothing must not outlive it.
//!
//! While a client does not read, nobody asks the response's body for more, so the body cannot end by itself. The edge then
//! ends what it writes to: the connection of HTTP/1.1, the stream of HTTP/2.

use std::time::Duration;

use http::Response;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a body has to end by itself once its right is gone. A client that reads gets the last bytes meanwhile.
const GRACE: Duration = Duration::from_millis(500);

/// Ends a response when the token is cancelled, even while its client reads nothing. A
/// [`Handler`](crate::Handler) puts it into the response's extensions.
#[derive(Clone, Debug)]
pub struct EndsWith(pub CancellationToken);

impl EndsWith {
    /// Takes the end of a response's right out of its extensions, as a future that resolves a moment after it.
    pub(crate) fn take<B>(response: &mut Response<B>) -> Option<impl Future<Output = ()> + Send + 'static> {
        let Self(ended) = response.extensions_mut().remove()?;
        Some(async move {
            ended.cancelled_owned().await;
            tokio::time::sleep(GRACE).await;
        })
    }
}

/// Aborts a response a moment after its right has ended, unless it is dropped before.
pub(crate) struct EndWatch(JoinHandle<()>);

impl EndWatch {
    /// Watches a response; `None` for one that has no such end.
    pub(crate) fn over<B>(response: &mut Response<B>, abort: impl FnOnce() + Send + 'static) -> Option<Self> {
        let ended = EndsWith::take(response)?;
        Some(Self(tokio::spawn(async move {
            ended.await;
            abort();
        })))
    }
}

impl Drop for EndWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

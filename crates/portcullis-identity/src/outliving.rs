//! Work that goes on when its client hangs up: the outcome of a comparison is counted and audited whatever becomes of the
//! request (SR-65).

use std::sync::Arc;

use portcullis_telemetry::RequestScope;
use tokio::sync::Semaphore;

use crate::error::IdentityError;
use crate::hashing::Presence;

/// The most pieces of such work that are under way at once.
const MOST: usize = 256;

/// Runs work in tasks of its own, a bounded number of them.
#[derive(Clone)]
pub(crate) struct Outliving(Arc<Semaphore>);

impl Default for Outliving {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Outliving {
    /// Runs work to its end, also if the future of this call is dropped. The work is given a sign of the client's
    /// presence.
    pub(crate) async fn run<T, W>(&self, work: impl FnOnce(Presence) -> W) -> Result<T, IdentityError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, IdentityError>> + Send + 'static,
    {
        let place = Arc::clone(&self.0).try_acquire_owned().map_err(|_full| IdentityError::Busy)?;
        let present = Arc::new(());
        let work = RequestScope::current().wrap(work(Arc::downgrade(&present)));
        let task = tokio::spawn(async move {
            let _place = place;
            work.await
        });
        let outcome = task.await.unwrap_or_else(|ended| match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(IdentityError::Internal { source: cancelled.into() }),
        });
        drop(present);
        outcome
    }
}

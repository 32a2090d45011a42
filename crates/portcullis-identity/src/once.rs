//! What is done once, however often it is asked for under one [`OnceKey`] (requirement 48).

use portcullis_storage::{Earlier, OnceKey, Tx};
use serde::Serialize;
use serde_json::Value;

use crate::error::IdentityError;
use crate::identity::Identity;

/// What a use case that is done once has to say.
#[derive(Debug)]
pub enum Done<T> {
    /// It was done now.
    Now(T),
    /// It was done before, and this was kept of it.
    Before(Value),
}

impl<T> Done<T> {
    /// What was done now.
    pub fn now(self) -> Option<T> {
        match self {
            Self::Now(outcome) => Some(outcome),
            Self::Before(_) => None,
        }
    }
}

impl Identity {
    /// What came of it, if it was done before. To be asked before anything is checked: what was fine then may not be now.
    pub(crate) async fn done_before(&self, once: Option<&OnceKey>) -> Result<Option<Value>, IdentityError> {
        let Some(key) = once else { return Ok(None) };
        kept(self.store.done_before(key, self.clock.now()).await?)
    }

    /// Writes what will have come of it once `tx` commits. `Some` if another did it in the meantime: then `tx` must not.
    ///
    /// To be called before anything else is written, so that of two at once the second does nothing that would be
    /// undone. The outcome must be of a type that knows no credential: it is kept as it is.
    pub(crate) async fn record_outcome(
        &self,
        tx: &mut Tx,
        once: Option<&OnceKey>,
        outcome: &impl Serialize,
    ) -> Result<Option<Value>, IdentityError> {
        let Some(key) = once else { return Ok(None) };
        let outcome =
            serde_json::to_string(outcome).map_err(|error| IdentityError::Internal { source: error.into() })?;
        kept(tx.record_outcome(key, self.clock.now(), &outcome).await?)
    }
}

fn kept(earlier: Option<Earlier>) -> Result<Option<Value>, IdentityError> {
    match earlier {
        None => Ok(None),
        Some(Earlier::Another) => Err(IdentityError::KeyReused),
        Some(Earlier::Done(outcome)) => {
            serde_json::from_str(&outcome).map(Some).map_err(|error| IdentityError::Internal { source: error.into() })
        }
    }
}

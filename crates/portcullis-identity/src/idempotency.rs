//! Use cases that run once per [`IdempotencyKey`], the caller's idempotency key (SR-48).

use portcullis_model::Clock;
use portcullis_storage::{IdempotencyKey, RecordedOutcome, Store, Tx};
use serde::Serialize;
use serde_json::Value;

use crate::error::IdentityError;

/// The outcome of a use case that runs once per idempotency key.
#[derive(Debug)]
pub enum IdempotentOutcome<T> {
    /// The use case ran now.
    Fresh(T),
    /// It ran before under this key; this outcome was stored then.
    Replayed(Value),
}

impl<T> IdempotentOutcome<T> {
    /// The outcome of a use case that ran now; `None` for a replayed one.
    pub fn fresh(self) -> Option<T> {
        match self {
            Self::Fresh(outcome) => Some(outcome),
            Self::Replayed(_) => None,
        }
    }
}

/// Stores outcomes by idempotency key.
#[derive(Clone)]
pub(crate) struct IdempotentOutcomes {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

impl IdempotentOutcomes {
    /// The stored outcome of this key. Must be asked before the input is checked, because what was valid then may be
    /// invalid now.
    pub(crate) async fn stored(&self, key: Option<&IdempotencyKey>) -> Result<Option<Value>, IdentityError> {
        let Some(key) = key else { return Ok(None) };
        read(self.store.recorded_outcome(key, self.clock.now()).await?)
    }

    /// Stores the outcome that is true once `tx` commits. Returns the outcome of a concurrent request with the same
    /// key if that one was first; then `tx` must not be committed.
    ///
    /// Must be called before anything else is written, so that the slower of two requests has nothing to undo. The
    /// outcome is stored as it is, so its type must hold no credential.
    pub(crate) async fn record(
        &self,
        tx: &mut Tx,
        key: Option<&IdempotencyKey>,
        outcome: &impl Serialize,
    ) -> Result<Option<Value>, IdentityError> {
        let Some(key) = key else { return Ok(None) };
        let outcome =
            serde_json::to_string(outcome).map_err(|error| IdentityError::Internal { source: error.into() })?;
        read(tx.record_outcome(key, self.clock.now(), &outcome).await?)
    }
}

fn read(earlier: Option<RecordedOutcome>) -> Result<Option<Value>, IdentityError> {
    match earlier {
        None => Ok(None),
        Some(RecordedOutcome::OtherRequest) => Err(IdentityError::KeyReused),
        Some(RecordedOutcome::SameRequest(outcome)) => {
            serde_json::from_str(&outcome).map(Some).map_err(|error| IdentityError::Internal { source: error.into() })
        }
    }
}

//! Idempotency keys: a request that its client repeats under the same key is done once (SR-48).
//!
//! The outcome of a request is written by the transaction that does it, as its first statement. A process that dies, a
//! connection that breaks or a lost acknowledgement therefore leave both the change and the outcome, or neither. Of two
//! concurrent requests with one key, the second waits for the end of the first.

use std::time::Duration;

use portcullis_model::Timestamp;

use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::store::{Access, Database, Tx};

/// How long an outcome is stored.
const OUTCOME_KEPT: Duration = Duration::from_secs(86_400);

// A row without an answer was left by an old version, which claimed a key before it did the work.
static RECORD: Sql = Sql::insert(
    "idempotency_keys",
    "INSERT INTO idempotency_keys (id, request, claimed_at, expires_at, answer) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (id) DO UPDATE SET request = excluded.request, claimed_at = excluded.claimed_at, \
     expires_at = excluded.expires_at, answer = excluded.answer \
     WHERE idempotency_keys.expires_at <= $3 OR idempotency_keys.answer IS NULL",
);
static FIND: Sql = Sql::select(
    "idempotency_keys",
    "SELECT request, answer FROM idempotency_keys WHERE id = $1 AND expires_at > $2 AND answer IS NOT NULL",
);

/// An idempotency key together with the request it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// SHA-256 of the caller, the endpoint and the key's text.
    pub id: [u8; 32],
    /// SHA-256 of the request.
    pub request: [u8; 32],
}

/// What an earlier request has done under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedOutcome {
    /// The same request was done, with this outcome.
    SameRequest(String),
    /// The key was used for another request.
    OtherRequest,
}

impl<A: Access> Database<A> {
    /// Returns what was done under this key. `None` does not mean that nothing was: a transaction that uses the key may
    /// not have committed yet.
    pub async fn recorded_outcome(
        &self,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<RecordedOutcome>, StoreError> {
        let row = self.one(&FIND, vec![key.id.into(), now.into()]).await?;
        let Some(row) = row else { return Ok(None) };
        let same = row.hash("request")? == key.request;
        Ok(Some(if same { RecordedOutcome::SameRequest(row.read("answer")?) } else { RecordedOutcome::OtherRequest }))
    }
}

impl Tx {
    /// Writes the outcome that the request has when this transaction commits, and returns `None`. Otherwise an earlier
    /// request has used the key, and this transaction has nothing to do.
    pub async fn record_outcome(
        &mut self,
        key: &IdempotencyKey,
        now: Timestamp,
        outcome: &str,
    ) -> Result<Option<RecordedOutcome>, StoreError> {
        let values = vec![key.id.into(), key.request.into(), now.into(), (now + OUTCOME_KEPT).into(), outcome.into()];
        if self.execute(&RECORD, values).await? == 1 {
            return Ok(None);
        }
        let earlier = self.recorded_outcome(key, now).await?;
        earlier
            .map(Some)
            .ok_or_else(|| StoreError::corrupt("an idempotency key conflicts with a row that cannot be found"))
    }
}

//! Requests that their clients named, so that each is done once (requirement 48).
//!
//! What came of a request is written in the transaction that does it, first of all. So there is no moment at which it
//! is done and not known to be: a process that dies, a connection that breaks, an acknowledgement that is lost leave
//! both or neither. Of two at once the second waits at the key for the first one's end.

use std::time::Duration;

use portcullis_model::Timestamp;

use crate::engine::error::StoreError;
use crate::engine::statement::{Runs, Sql};
use crate::store::{Access, Database, Tx};

/// How long an outcome is kept.
const OUTCOME_KEPT: Duration = Duration::from_secs(86_400);

// A row without an answer was left by a version that claimed a key before it did the work.
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

/// The name that a client gave to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnceKey {
    /// SHA-256 of whose it is, for what, and the name itself.
    pub id: [u8; 32],
    /// SHA-256 of the request.
    pub request: [u8; 32],
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// The request was done, and this came of it.
    Done(String),
    /// The key is another request's.
    Another,
}

impl<A: Access> Database<A> {
    /// Returns what was done under this key. `None` does not mean that nothing was: a transaction that uses the key may
    /// not have committed yet.
    pub async fn done_before(&self, key: &OnceKey, now: Timestamp) -> Result<Option<Earlier>, StoreError> {
        let row = self.one(&FIND, vec![key.id.to_vec().into(), now.into()]).await?;
        let Some(row) = row else { return Ok(None) };
        let same = row.hash("request")? == key.request;
        Ok(Some(if same { Earlier::Done(row.get("answer")?) } else { Earlier::Another }))
    }
}

impl Tx {
    /// Writes what will have come of the request when this transaction commits; `None` once that is written. Otherwise
    /// it was done before, and this transaction has nothing to do.
    pub async fn record_outcome(
        &mut self,
        key: &OnceKey,
        now: Timestamp,
        outcome: &str,
    ) -> Result<Option<Earlier>, StoreError> {
        let values = vec![
            key.id.to_vec().into(),
            key.request.to_vec().into(),
            now.into(),
            (now + OUTCOME_KEPT).into(),
            outcome.into(),
        ];
        if self.execute(&RECORD, values).await? == 1 {
            return Ok(None);
        }
        let earlier = self.done_before(key, now).await?;
        earlier.map(Some).ok_or_else(|| StoreError::corrupt("an Idempotency-Key is there and cannot be found"))
    }
}

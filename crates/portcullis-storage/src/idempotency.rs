//! Requests that must not be done twice: who does one, and what became of it.

use std::time::Duration;

use portcullis_model::Timestamp;

use crate::error::StoreError;
use crate::statement::{Runs, Sql};
use crate::store::Store;

/// How long an answer is kept.
pub const ANSWER_KEPT: Duration = Duration::from_secs(86_400);
/// How long a request may be under way before another may take its place: its process may have died.
const LEASE: Duration = Duration::from_secs(60);

// Either a new one, or one whose time is over, or one that nobody finished.
static CLAIM: Sql = Sql::insert(
    "idempotency_keys",
    "INSERT INTO idempotency_keys (id, request, claimed_at, expires_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (id) DO UPDATE SET request = excluded.request, claimed_at = excluded.claimed_at, \
     expires_at = excluded.expires_at, answer = NULL WHERE idempotency_keys.expires_at <= $3 \
     OR (idempotency_keys.answer IS NULL AND idempotency_keys.claimed_at <= $5)",
);
static FIND: Sql = Sql::select("idempotency_keys", "SELECT request, answer FROM idempotency_keys WHERE id = $1");
static COMPLETE: Sql = Sql::update(
    "idempotency_keys",
    "UPDATE idempotency_keys SET answer = $3 WHERE id = $1 AND claimed_at = $2 AND answer IS NULL",
);
static RELEASE: Sql = Sql::delete(
    "idempotency_keys",
    "DELETE FROM idempotency_keys WHERE id = $1 AND claimed_at = $2 AND answer IS NULL",
);

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody has done it: it is the caller's to do, and to [complete](Store::complete_request) or
    /// [release](Store::release_request) with this time.
    Mine(Timestamp),
    /// Somebody is doing it, or did it.
    Theirs {
        /// SHA-256 of their request.
        request: [u8; 32],
        /// What they got; `None` while it is under way.
        answer: Option<String>,
    },
}

impl Store {
    /// Claims a request: of any number of callers with one `id` exactly one gets it.
    pub async fn claim_request(&self, id: &[u8; 32], request: &[u8; 32], now: Timestamp) -> Result<Claim, StoreError> {
        loop {
            let values = vec![
                id.to_vec().into(),
                request.to_vec().into(),
                now.into(),
                (now + ANSWER_KEPT).into(),
                (now - LEASE).into(),
            ];
            if self.execute(&CLAIM, values).await? == 1 {
                return Ok(Claim::Mine(now));
            }
            if let Some(row) = self.one(&FIND, vec![id.to_vec().into()]).await? {
                return Ok(Claim::Theirs { request: row.hash("request")?, answer: row.get("answer")? });
            }
            // Released between the two: it may be claimed again.
        }
    }

    /// Keeps what became of a claimed request. A claim that was taken over keeps nothing.
    pub async fn complete_request(&self, id: &[u8; 32], claimed: Timestamp, answer: &str) -> Result<(), StoreError> {
        self.execute(&COMPLETE, vec![id.to_vec().into(), claimed.into(), answer.into()]).await.map(drop)
    }

    /// Gives a claimed request up: nothing was done.
    pub async fn release_request(&self, id: &[u8; 32], claimed: Timestamp) -> Result<(), StoreError> {
        self.execute(&RELEASE, vec![id.to_vec().into(), claimed.into()]).await.map(drop)
    }
}

//! Writes the gateway's own errors to the database.

use std::time::Duration;

use portcullis_model::Timestamp;
use portcullis_model::secret::sha256;
use portcullis_storage::{ErrorOccurrences, Store, StoreError};
use portcullis_telemetry::Errors;
use portcullis_telemetry::errors::Occurrences;
use tokio_util::sync::CancellationToken;

/// The pause between two writings. The first error is written at once; what follows it meanwhile is counted and written
/// after the pause, a statement for each group.
const PAUSE: Duration = Duration::from_secs(5);

/// Writes what was recorded.
#[derive(Clone)]
pub(super) struct ErrorWriter {
    pub(super) errors: Errors,
    pub(super) store: Store,
    /// The release that errors are recorded under.
    pub(super) release: String,
}

impl ErrorWriter {
    /// Writes errors as they come, and the last ones when `stopping` is cancelled. What cannot be written is tried again.
    pub(super) async fn run(self, stopping: CancellationToken) {
        let mut is_failing = false;
        loop {
            let fetched = tokio::select! {
                fetched = self.errors.next() => fetched,
                () = stopping.cancelled() => break,
            };
            match self.write(fetched).await {
                Ok(()) => is_failing = false,
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "errors cannot be written to the database; they are kept and tried again"
                    );
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stopping.cancelled() => break,
            }
        }
        if let Err(error) = self.write(self.errors.fetch()).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the last errors were not written to the database");
        }
    }

    /// Writes errors, a group at a time. Those that were not written are given back.
    async fn write(&self, fetched: Vec<Occurrences>) -> Result<(), StoreError> {
        let mut waiting = fetched.into_iter();
        while let Some(occurrences) = waiting.next() {
            if let Err(error) = self.store.record_errors(&self.stored(&occurrences)).await {
                self.errors.give_back([occurrences].into_iter().chain(waiting).collect());
                return Err(error);
            }
        }
        Ok(())
    }

    fn stored(&self, occurrences: &Occurrences) -> ErrorOccurrences {
        ErrorOccurrences {
            fingerprint: sha256(occurrences.group.as_bytes()),
            kind: occurrences.kind.as_str(),
            message: occurrences.message.clone(),
            route: occurrences.route.clone(),
            times: i64::try_from(occurrences.times).unwrap_or(i64::MAX),
            first_seen_at: timestamp(occurrences.first_at),
            last_seen_at: timestamp(occurrences.last_at),
            last_request_id: occurrences.last_request_id.clone(),
            release: self.release.clone(),
        }
    }
}

fn timestamp(since_1970: Duration) -> Timestamp {
    let micros = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_timestamp_micros(micros).unwrap_or_default()
}

//! The process follows the database's clock, so that replicas on machines whose clocks differ agree on the time.
//!
//! The clock is compared whenever the revocation log is read, twice a second, and once when the store is opened. On SQLite
//! there is nothing to follow, because database and process share a machine.

use portcullis_model::{Clock, Timestamp};
use portcullis_telemetry::{Metrics, ReadMetric};

use super::{PING, Store};
use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::Executor;

/// A difference of this much (in microseconds) is worth a line in the log.
const LOGGED: i64 = 1_000_000;

impl Store {
    /// Returns the database's time.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        let text = format!("SELECT {} AS db_now", self.dialect().now("$1"));
        let row = self.one(&PING.with_text(text), vec![self.now_value()]).await?;
        row.ok_or_else(|| StoreError::corrupt("a SELECT without FROM returned no row"))?.read("db_now")
    }

    /// Has the clock follow the database's for the first time. A failure is left to the readings of the log.
    pub(super) async fn follow_clock(&self) {
        if self.dialect() == Dialect::Postgres {
            let earliest = self.clock().unix_micros();
            if let Ok(now) = self.now().await {
                correct(self.clock(), now, earliest);
            }
        }
    }
}

/// Shows by how much the machine's clock differs from the database's, as it was last measured.
pub(super) fn register_metric(metrics: &Metrics, clock: &Clock) {
    let clock = clock.clone();
    let ahead = move || Some(clock.machine_ahead_by_micros() as f64 / 1e6);
    metrics.read_value(ReadMetric::DatabaseClockDifference, ahead);
}

/// Has the clock follow the database's time `db_now` in the first row, whose statement was sent at `earliest`.
pub(crate) fn follow(clock: &Clock, rows: &[Row], earliest: i64) {
    if let Some(Row::Postgres(_)) = rows.first()
        && let Some(Ok(now)) = rows.first().map(|row| row.read("db_now"))
    {
        correct(clock, now, earliest);
    }
}

fn correct(clock: &Clock, database: Timestamp, earliest: i64) {
    let Some(behind) = clock.follow(database.timestamp_micros(), earliest, clock.unix_micros()) else { return };
    if behind.abs() >= LOGGED {
        tracing::warn!(
            seconds_behind = behind / 1_000_000,
            "the clock of this machine differs from the database's, whose time is used; \
             hint: let NTP set the clocks of both machines"
        );
    }
}

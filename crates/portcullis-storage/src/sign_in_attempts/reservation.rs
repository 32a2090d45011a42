//! Counting attempts before their passwords are compared, so that no burst outruns a limit, on however many replicas it
//! arrives: the statement that counts an attempt decides whether it is admitted.
//!
//! Every statement touches the rows of an attempt in the order of their subjects, so that two of them never wait for
//! each other.

use std::time::Duration;

use portcullis_model::Timestamp;

use super::AttemptSubjects;
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{Value, as_bigint};
use crate::store::{Store, Tx};

/// Under which conditions an attempt is admitted.
#[derive(Clone, Debug)]
pub struct AttemptLimits {
    /// The database's time.
    pub now: Timestamp,
    /// Whether the client is a known one, which only its own failures at this account delay.
    pub is_known_client: bool,
    /// How many attempts may be under way while none since the last success is known to have failed.
    pub unconfirmed: u64,
    /// Failures of an account that cause no wait.
    pub account_free: u64,
    /// Failures of a client at an account that cause no wait.
    pub pair_free: u64,
    /// How long ago the last failure must be, by the number of failures beyond the free ones. The last wait is for all
    /// further ones.
    pub waits: Vec<Duration>,
    /// After this long without an attempt the count of a client at an account starts again.
    pub reset_after: Duration,
    /// How long one failure of a client takes to drain away.
    pub drain: Duration,
    /// How many failures of a client may wait to drain away before it must wait too.
    pub client_burst: u32,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is counted, as the `account`th of the account since its last success.
    Admitted {
        /// The number of the attempt.
        account: u64,
    },
    /// It comes too early, and is not counted.
    TooEarly,
}

/// Until when a counter without failures is kept: housekeeping deletes it at its next run.
const FORGOTTEN: Duration = Duration::from_secs(365 * 86_400);

static RESERVE: Sql = Sql::insert("sign_in_attempts", "");
static CONFIRM: Sql = Sql::insert(
    "sign_in_attempts",
    "INSERT INTO sign_in_attempts (subject, failures, last_at, failed_at) VALUES ($1, 1, $3, $3), ($2, 1, $3, $3) \
     ON CONFLICT (subject) DO UPDATE SET last_at = excluded.last_at, failed_at = excluded.failed_at",
);
static RELEASE: Sql = Sql::update(
    "sign_in_attempts",
    "UPDATE sign_in_attempts SET failures = CASE WHEN failures > 0 THEN failures - 1 ELSE 0 END, \
     drains_at = drains_at - $2 WHERE subject = $1",
);
static SUCCEEDED: Sql = Sql::insert(
    "sign_in_attempts",
    "INSERT INTO sign_in_attempts (subject, failures, last_at) VALUES ($1, 0, $4), ($2, 0, $4), ($3, 0, $4) \
     ON CONFLICT (subject) DO UPDATE SET failures = 0, failed_at = NULL, drains_at = sign_in_attempts.drains_at - $5, \
     last_at = CASE WHEN sign_in_attempts.drains_at IS NULL THEN excluded.last_at ELSE sign_in_attempts.last_at END",
);
static FORGET_ACCOUNT: Sql =
    Sql::update("sign_in_attempts", "UPDATE sign_in_attempts SET failures = 0, failed_at = NULL WHERE subject = $1");

impl AttemptSubjects {
    /// Returns the subjects in the order in which statements lock their rows.
    fn ordered(&self) -> [[u8; 32]; 3] {
        let mut ordered = [self.account, self.client, self.pair];
        ordered.sort_unstable();
        ordered
    }
}

impl AttemptLimits {
    /// Returns the statement that counts an attempt for each subject that admits it, and its values.
    fn statement(&self, subjects: &AttemptSubjects) -> (Sql, Vec<Value>) {
        let now_ms = self.now.timestamp_millis();
        let drain = millis(self.drain);
        let mut values: Vec<Value> = subjects.ordered().map(Value::from).into();
        values.extend([
            subjects.account.into(),
            subjects.client.into(),
            self.now.into(),
            (self.now - self.reset_after).into(),
            self.is_known_client.into(),
            as_bigint(self.unconfirmed),
            as_bigint(self.account_free),
            as_bigint(self.pair_free),
            now_ms.into(),
            drain.into(),
            (now_ms + drain * (i64::from(self.client_burst) - 1)).into(),
        ]);
        let mut waits = String::new();
        for (n, wait) in self.waits.iter().enumerate() {
            values.push((self.now - *wait).into());
            let parameter = values.len();
            let is_last = n + 1 == self.waits.len();
            waits.push_str(&if is_last {
                format!("ELSE ${parameter}")
            } else {
                format!("WHEN {n} THEN ${parameter} ")
            });
        }
        let longest = values.len();
        let new = |n: usize| {
            format!(
                "(${n}, CASE WHEN ${n} = $5 THEN 0 ELSE 1 END, $6, \
                 CASE WHEN ${n} = $5 THEN CAST($12 AS BIGINT) + CAST($13 AS BIGINT) ELSE NULL END)"
            )
        };
        let text = format!(
            "INSERT INTO sign_in_attempts (subject, failures, last_at, drains_at) VALUES {}, {}, {} \
             ON CONFLICT (subject) DO UPDATE SET last_at = excluded.last_at, \
             failures = CASE WHEN sign_in_attempts.subject = $5 THEN 0 \
             WHEN sign_in_attempts.subject <> $4 AND sign_in_attempts.last_at < $7 THEN 1 \
             ELSE sign_in_attempts.failures + 1 END, \
             failed_at = CASE WHEN sign_in_attempts.failed_at IS NULL THEN NULL \
             WHEN sign_in_attempts.subject <> $4 AND sign_in_attempts.last_at < $7 THEN NULL ELSE excluded.last_at END, \
             drains_at = CASE WHEN sign_in_attempts.subject <> $5 THEN NULL \
             WHEN sign_in_attempts.drains_at > $12 THEN sign_in_attempts.drains_at + $13 ELSE excluded.drains_at END \
             WHERE CASE WHEN sign_in_attempts.subject = $5 \
             THEN $8 OR sign_in_attempts.drains_at IS NULL OR sign_in_attempts.drains_at <= $14 \
             WHEN sign_in_attempts.subject = $4 AND $8 THEN TRUE \
             WHEN sign_in_attempts.subject <> $4 AND sign_in_attempts.last_at < $7 THEN TRUE \
             WHEN sign_in_attempts.failed_at IS NULL \
             THEN sign_in_attempts.failures < $9 OR sign_in_attempts.last_at <= ${longest} \
             WHEN sign_in_attempts.failures < CASE WHEN sign_in_attempts.subject = $4 THEN $10 ELSE $11 END THEN TRUE \
             ELSE sign_in_attempts.failed_at <= CASE sign_in_attempts.failures - \
             CASE WHEN sign_in_attempts.subject = $4 THEN $10 ELSE $11 END {waits} END END \
             RETURNING subject, failures",
            new(1),
            new(2),
            new(3)
        );
        (RESERVE.with_text(text), values)
    }
}

impl Store {
    /// Counts an attempt, unless one of its subjects must wait. An attempt that is refused is counted for none of them.
    pub async fn reserve_attempt(
        &self,
        subjects: &AttemptSubjects,
        limits: &AttemptLimits,
    ) -> Result<Reserved, StoreError> {
        let (sql, values) = limits.statement(subjects);
        let mut counted = Vec::new();
        let mut account = 0;
        for row in self.all(&sql, values).await? {
            let subject = row.hash("subject")?;
            if subject == subjects.account {
                account = row.count("failures")?;
            }
            counted.push(subject);
        }
        if counted.len() == subjects.ordered().len() {
            return Ok(Reserved::Admitted { account });
        }
        for subject in counted {
            self.release(subject, limits.drain).await?;
        }
        Ok(Reserved::TooEarly)
    }

    /// Takes an attempt back whose password was not compared.
    pub async fn release_attempt(&self, subjects: &AttemptSubjects, drain: Duration) -> Result<(), StoreError> {
        for subject in subjects.ordered() {
            self.release(subject, drain).await?;
        }
        Ok(())
    }

    async fn release(&self, subject: [u8; 32], drain: Duration) -> Result<(), StoreError> {
        self.execute(&RELEASE, vec![subject.into(), millis(drain).into()]).await.map(|_| ())
    }

    /// Notes that a counted attempt failed: from now on the waits apply.
    pub async fn confirm_failure(&self, subjects: &AttemptSubjects, at: Timestamp) -> Result<(), StoreError> {
        let mut ordered = [subjects.account, subjects.pair];
        ordered.sort_unstable();
        let [first, second] = ordered.map(Value::from);
        self.execute(&CONFIRM, vec![first, second, at.into()]).await.map(|_| ())
    }
}

impl Tx {
    /// Ends the failures of an account and of this client at it, and lets `drained` of the client's own drain away.
    pub async fn forget_failures(
        &mut self,
        subjects: &AttemptSubjects,
        at: Timestamp,
        drained: Duration,
    ) -> Result<(), StoreError> {
        let [first, second, third] = subjects.ordered().map(Value::from);
        let values = vec![first, second, third, (at - FORGOTTEN).into(), millis(drained).into()];
        self.execute(&SUCCEEDED, values).await.map(|_| ())
    }

    /// Ends the failures of an account.
    pub async fn forget_account_failures(&mut self, subjects: &AttemptSubjects) -> Result<(), StoreError> {
        self.execute(&FORGET_ACCOUNT, vec![subjects.account.into()]).await.map(|_| ())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

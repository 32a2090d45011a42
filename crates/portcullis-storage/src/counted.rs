//! What operators watch that only the database knows.

use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::store::Store;

/// Numbers of rows, the same for every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Sessions that have neither ended nor expired.
    pub sessions_live: u64,
    /// Mails that wait to be sent.
    pub mails_waiting: u64,
}

static COUNTED: Sql = Sql::select("mail_outbox", "");

impl Store {
    /// Counts with one statement, which reads the whole table of sessions: about a second for ten million.
    pub async fn counted(&self) -> Result<Counted, StoreError> {
        let now = self.dialect().now("$1");
        let text = format!(
            "SELECT (SELECT count(*) FROM mail_outbox WHERE sent_at IS NULL AND given_up_at IS NULL) AS mails_waiting, \
             (SELECT count(*) FROM sessions WHERE ended_at IS NULL AND idle_expires_at > {now} \
             AND absolute_expires_at > {now}) AS sessions_live"
        );
        let row = self.one(&COUNTED.with_text(text), vec![self.now_value()]).await?;
        let count = |name| row.as_ref().map_or(Ok(0), |row| row.count(name));
        Ok(Counted { sessions_live: count("sessions_live")?, mails_waiting: count("mails_waiting")? })
    }
}

//! Reading a principal again in the transaction that writes something lasting on its behalf (SR-59).
//!
//! The session or API key that the gate let through may be a copy of one that ended on another replica a moment ago.
//! Here it is read under a lock: an end of it has committed and is seen, or waits until this transaction has ended.

use portcullis_model::{SessionState, UserId};

use crate::engine::columns::{FromRow, sql};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::store::Tx;
use crate::users::Credentials;

static LOCK_USER: Sql = Sql::select("users", "");
static BY_SESSION: Sql = Sql::select("sessions", "");
static BY_API_KEY: Sql = Sql::select("api_keys", "");

const OF_SESSION: &str = sql!(
    "SELECT ",
    Credentials::COLUMNS,
    " FROM sessions JOIN users ON users.id = sessions.user_id \
     WHERE sessions.id = $1 AND users.id = $2 AND users.is_active \
     AND sessions.ended_at IS NULL AND sessions.user_epoch >= users.session_epoch AND sessions.epoch = $3 AND users.token_epoch <= $4"
);
const OF_API_KEY: &str = sql!(
    "SELECT ",
    Credentials::COLUMNS,
    " FROM api_keys JOIN users ON users.id = api_keys.user_id \
     WHERE api_keys.id = $1 AND users.id = $2 AND users.is_active \
     AND api_keys.revoked_at IS NULL AND api_keys.epoch = $3"
);

impl Tx {
    /// Returns the user of a session or an API key as they are now. `None` when the session or the key has ended or
    /// expired, or the user is inactive or deleted. Until this transaction ends, nobody else ends the session or the key,
    /// or changes the user.
    pub async fn principal(&mut self, session: &SessionState) -> Result<Option<Credentials>, StoreError> {
        self.lock_user(session.user_id).await?;
        let dialect = self.dialect();
        let mut values =
            vec![session.id.into(), session.user_id.into(), session.session_epoch.into(), session.user_epoch.into()];
        let sql = if session.is_signed_in() {
            let (now, lock) = (dialect.now("$5"), dialect.row_lock(" FOR SHARE OF sessions"));
            BY_SESSION.with_text(format!(
                "{OF_SESSION} AND sessions.idle_expires_at > {now} AND sessions.absolute_expires_at > {now}{lock}"
            ))
        } else {
            values.truncate(3);
            let (now, lock) = (dialect.now("$4"), dialect.row_lock(" FOR SHARE OF api_keys"));
            BY_API_KEY.with_text(format!(
                "{OF_API_KEY} AND (api_keys.expires_at IS NULL OR api_keys.expires_at > {now}){lock}"
            ))
        };
        values.push(self.now_value());
        self.one(&sql, values).await?.map(|row| Credentials::from_row(&row)).transpose()
    }

    /// Waits until no other transaction changes a user or one of their rows, and keeps it so until this one ends.
    ///
    /// The user is locked by a statement of its own: one that waits for a lock reads the other tables as they were
    /// before it waited. The user comes before the sessions and API keys, as in every transaction that ends them.
    pub async fn lock_user(&mut self, id: UserId) -> Result<(), StoreError> {
        let text = format!("SELECT id FROM users WHERE id = $1{}", self.dialect().row_lock(" FOR UPDATE"));
        self.all(&LOCK_USER.with_text(text), vec![id.into()]).await.map(|_| ())
    }
}

//! API keys. A key is found by the SHA-256 of its whole text, and acts for its user as a session would that nobody signed
//! in to.

use portcullis_model::api_key::ApiKey;
use portcullis_model::{ApiKeyScopes, Permission, PermissionSet, SessionCopy, SessionId, Timestamp, UserId};

use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::columns::{FromRow, Insert, column_list, columns, sql};
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{ToValue, Value, as_bigint};
use crate::last_use::LastUse;
use crate::store::{Store, Tx};
use crate::users::EXTRA_PERMISSIONS;

/// An API key to be inserted.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// The part of the key that is not secret.
    pub key: ApiKey,
    /// The key's user.
    pub user_id: UserId,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
}

columns! {
    ApiKey reads and writes api_keys {
        id, name, prefix, scopes, created_at, expires_at, last_used_at
    }
}

impl Insert for NewApiKey {
    const TABLE: &'static str = "api_keys";

    fn columns(&self) -> Vec<(&'static str, Value)> {
        let mut columns = self.key.columns();
        columns.extend([
            ("user_id", self.user_id.to_value()),
            ("hash", self.hash.to_value()),
            ("epoch", 1_i64.to_value()),
        ]);
        columns
    }
}

static LIST: Sql = Sql::select(
    "api_keys",
    sql!(
        "SELECT ",
        ApiKey::COLUMNS,
        " FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL ORDER BY created_at DESC, id DESC"
    ),
);
static COUNT: Sql =
    Sql::select("api_keys", "SELECT count(*) AS n FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL");
static MADE_SINCE: Sql = Sql::select(
    "api_keys",
    "SELECT created_at FROM api_keys WHERE user_id = $1 AND created_at > $2 ORDER BY created_at DESC LIMIT 1 OFFSET $3",
);
const COPY_COLUMNS: &str = sql!(
    column_list!(api_keys { id, user_id, scopes, created_at, expires_at, last_used_at, epoch }),
    ", ",
    column_list!(users {
        email, email_verified_at, role, epoch, token_epoch, extra_permissions = EXTRA_PERMISSIONS
    }),
);
static BY_HASH: Sql = Sql::select("api_keys", "");
static REVOKE: Sql = Sql::update(
    "api_keys",
    "UPDATE api_keys SET revoked_at = $3, epoch = epoch + 1 \
     WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL RETURNING epoch",
);

fn read_copy(row: &Row) -> Result<SessionCopy, StoreError> {
    let created_at = row.read::<Timestamp>("api_keys_created_at")?.timestamp();
    let scopes: Option<Vec<Permission>> = row.read("api_keys_scopes")?;
    Ok(SessionCopy {
        id: row.read("api_keys_id")?,
        user_id: row.read("api_keys_user_id")?,
        role: row.read("users_role")?,
        extra_permissions: row.read::<PermissionSet>("users_extra_permissions")?.into_iter().collect(),
        email: row.read("users_email")?,
        email_verified: row.read::<Option<Timestamp>>("users_email_verified_at")?.is_some(),
        amr: Vec::new(),
        authenticated_at: created_at,
        session_epoch: row.read("api_keys_epoch")?,
        user_epoch: row.read("users_epoch")?,
        token_epoch: row.read("users_token_epoch")?,
        expires_at: row.read::<Option<Timestamp>>("api_keys_expires_at")?.map_or(i64::MAX, |at| at.timestamp()),
        last_seen: row.read::<Option<Timestamp>>("api_keys_last_used_at")?.map_or(0, |at| at.timestamp()),
        api_key: Some(scopes.map_or(ApiKeyScopes::All, |scopes| ApiKeyScopes::Only(scopes.into()))),
        read_at: row.read("read_at")?,
    })
}

impl Store {
    /// Returns what the gate needs of the key with this SHA-256. `None` when it does not exist or is revoked, or its
    /// user is inactive. An expired key is returned; the caller checks its `expires_at`.
    pub async fn api_key_copy(&self, hash: &[u8; 32]) -> Result<Option<SessionCopy>, StoreError> {
        let text = format!(
            "SELECT {COPY_COLUMNS}, {} AS read_at FROM api_keys JOIN users ON users.id = api_keys.user_id \
             WHERE api_keys.hash = $1 AND api_keys.revoked_at IS NULL AND users.is_active",
            self.dialect().statement_start("$2")
        );
        let values = vec![hash.into(), self.now_value()];
        self.one(&BY_HASH.with_text(text), values).await?.map(|row| read_copy(&row)).transpose()
    }

    /// Returns a user's keys, newest first, including expired ones.
    pub async fn api_keys(&self, owner: UserId) -> Result<Vec<ApiKey>, StoreError> {
        self.all(&LIST, vec![owner.into()]).await?.iter().map(ApiKey::from_row).collect()
    }

    /// Records when keys were last used, like [`touch_sessions`](Store::touch_sessions).
    pub async fn touch_api_keys(&self, seen: &[(SessionId, Timestamp)]) -> Result<Vec<SessionId>, StoreError> {
        self.record_last_use(LastUse::ApiKeys, seen).await
    }
}

impl Tx {
    /// Counts a user's keys. Every other transaction that counts this user's keys waits until this one ends, so that
    /// the user cannot get more keys than allowed.
    pub async fn count_api_keys(&mut self, owner: UserId) -> Result<u64, StoreError> {
        self.lock(AdvisoryLock::UserQuota(owner.0)).await?;
        self.one(&COUNT, vec![owner.into()]).await?.map_or(Ok(0), |row| row.count("n"))
    }

    /// Returns when the key was made that is the `nth` newest of those made since `since`, revoked ones included. `None` if
    /// there are fewer. After [`count_api_keys`](Self::count_api_keys) no other transaction makes keys of this user.
    pub async fn nth_newest_api_key(
        &mut self,
        owner: UserId,
        since: Timestamp,
        nth: u64,
    ) -> Result<Option<Timestamp>, StoreError> {
        let values = vec![owner.into(), since.into(), as_bigint(nth.saturating_sub(1))];
        self.one(&MADE_SINCE, values).await?.map(|row| row.read("created_at")).transpose()
    }

    /// Inserts a key.
    pub async fn insert_api_key(&mut self, new: &NewApiKey) -> Result<(), StoreError> {
        self.insert(new).await
    }

    /// Revokes a key of this user at once, on every replica. Returns `false` if the user has no such key.
    pub async fn revoke_api_key(&mut self, owner: UserId, id: SessionId, at: Timestamp) -> Result<bool, StoreError> {
        let Some(row) = self.one(&REVOKE, vec![id.into(), owner.into(), at.into()]).await? else {
            return Ok(false);
        };
        self.revoke_session(owner, id, row.read("epoch")?);
        Ok(true)
    }
}

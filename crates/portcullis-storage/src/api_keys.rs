//! API keys: a key is found by the SHA-256 of the whole of it, and stands for its owner like a session that nobody
//! signed in to.

use portcullis_model::api_key::ApiKey;
use portcullis_model::{ApiKeyScopes, Email, Permission, SessionCopy, SessionId, Timestamp, UserId};

use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Runs, Sql};
use crate::housekeeping::touch;
use crate::store::{Store, Tx};
use crate::users::{extra_permissions, read_extra_permissions};

/// A key to be stored.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// What everybody may see of it.
    pub key: ApiKey,
    /// Whose it is.
    pub user_id: UserId,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
}

static INSERT: Sql = Sql::insert(
    "api_keys",
    "INSERT INTO api_keys (id, user_id, name, prefix, hash, scopes, created_at, expires_at, epoch) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)",
);
static LIST: Sql = Sql::select(
    "api_keys",
    "SELECT id, name, prefix, scopes, created_at, expires_at, last_used_at FROM api_keys \
     WHERE user_id = $1 AND revoked_at IS NULL ORDER BY created_at DESC, id DESC",
);
static COUNT: Sql =
    Sql::select("api_keys", "SELECT count(*) AS n FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL");
static BY_HASH: Sql = Sql::select(
    "api_keys",
    concat!(
        "SELECT api_keys.id AS key_id, api_keys.user_id AS user_id, api_keys.scopes AS scopes, \
         api_keys.created_at AS key_created_at, api_keys.expires_at AS expires_at, \
         api_keys.last_used_at AS last_used_at, api_keys.epoch AS key_epoch, \
         users.email AS email, users.email_verified_at AS email_verified_at, users.role AS role, \
         users.epoch AS user_epoch, users.token_epoch AS token_epoch, ",
        extra_permissions!(),
        " FROM api_keys JOIN users ON users.id = api_keys.user_id \
         WHERE api_keys.hash = $1 AND api_keys.revoked_at IS NULL AND users.is_active"
    ),
);
static REVOKE: Sql = Sql::update(
    "api_keys",
    "UPDATE api_keys SET revoked_at = $3, epoch = epoch + 1 \
     WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL RETURNING epoch",
);
static TOUCH: Sql = Sql::update("api_keys", "");

fn read_scopes(row: &Row) -> Result<Option<Vec<Permission>>, StoreError> {
    let text: Option<String> = row.get("scopes")?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| StoreError::corrupt(format!("scopes: {error}"))))
        .transpose()
}

fn read_copy(row: &Row) -> Result<SessionCopy, StoreError> {
    let created_at = row.time("key_created_at")?.timestamp();
    Ok(SessionCopy {
        id: row.session_id("key_id")?,
        user_id: row.user_id("user_id")?,
        role: row.parsed("role")?,
        extra_permissions: read_extra_permissions(row)?.into_iter().collect(),
        email: Email::from_stored(row.get("email")?),
        email_verified: row.optional_time("email_verified_at")?.is_some(),
        amr: Vec::new(),
        authenticated_at: created_at,
        session_epoch: row.get("key_epoch")?,
        user_epoch: row.get("user_epoch")?,
        token_epoch: row.get("token_epoch")?,
        expires_at: row.optional_time("expires_at")?.map_or(i64::MAX, |at| at.timestamp()),
        last_seen: row.optional_time("last_used_at")?.map_or(0, |at| at.timestamp()),
        api_key: Some(read_scopes(row)?.map_or(ApiKeyScopes::All, |scopes| ApiKeyScopes::Only(scopes.into()))),
    })
}

impl Store {
    /// What the gate needs of the key with this SHA-256; `None` when it is unknown or revoked, or its owner is not
    /// active. Whether it has expired is for the caller to see, by its `expires_at`.
    pub async fn api_key_copy(&self, hash: &[u8; 32]) -> Result<Option<SessionCopy>, StoreError> {
        self.one(&BY_HASH, vec![hash.to_vec().into()]).await?.map(|row| read_copy(&row)).transpose()
    }

    /// A person's keys, newest first, expired ones too.
    pub async fn api_keys(&self, owner: UserId) -> Result<Vec<ApiKey>, StoreError> {
        let read = |row: &Row| {
            Ok(ApiKey {
                id: row.session_id("id")?,
                name: row.get("name")?,
                prefix: row.get("prefix")?,
                scopes: read_scopes(row)?,
                created_at: row.time("created_at")?,
                expires_at: row.optional_time("expires_at")?,
                last_used_at: row.optional_time("last_used_at")?,
            })
        };
        self.all(&LIST, vec![owner.0.into()]).await?.iter().map(read).collect()
    }

    /// Notes when keys were last used; never sets one back.
    pub async fn touch_api_keys(&self, seen: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        touch(self, &TOUCH, ["api_keys", "last_used_at"], seen).await
    }
}

impl Tx {
    /// How many keys a person has. Nobody else who asks gives them another before this transaction ends.
    pub async fn count_api_keys(&mut self, owner: UserId) -> Result<u64, StoreError> {
        self.lock(AdvisoryLock::UserQuota(owner.0)).await?;
        self.one(&COUNT, vec![owner.0.into()]).await?.map_or(Ok(0), |row| row.count("n"))
    }

    /// Stores a key.
    pub async fn insert_api_key(&mut self, new: &NewApiKey) -> Result<(), StoreError> {
        let scopes = new
            .key
            .scopes
            .as_ref()
            .map(|scopes| serde_json::Value::from_iter(scopes.iter().map(Permission::as_str)).to_string());
        let values = vec![
            new.key.id.0.into(),
            new.user_id.0.into(),
            new.key.name.clone().into(),
            new.key.prefix.clone().into(),
            new.hash.to_vec().into(),
            scopes.into(),
            new.key.created_at.into(),
            new.key.expires_at.into(),
        ];
        self.execute(&INSERT, values).await.map(|_| ())
    }

    /// Revokes a key of this person, in force at once on every replica; `false` when they have none of this id.
    pub async fn revoke_api_key(&mut self, owner: UserId, id: SessionId, at: Timestamp) -> Result<bool, StoreError> {
        let Some(row) = self.one(&REVOKE, vec![id.0.into(), owner.0.into(), at.into()]).await? else {
            return Ok(false);
        };
        self.revoke_session(owner, id, row.get("epoch")?);
        Ok(true)
    }
}

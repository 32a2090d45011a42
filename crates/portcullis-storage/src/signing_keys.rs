//! Signing keys, shared by all replicas; the private half only ever arrives here sealed.

use portcullis_model::Timestamp;

use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Runs, Sql};
use crate::store::{Access, Database, Tx};

/// A key that signs access tokens.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Its name in a token's header and in the JWKS.
    pub kid: String,
    /// The JWS algorithm (`EdDSA`).
    pub algorithm: String,
    /// The public half.
    pub public_key: Vec<u8>,
    /// The private half, sealed.
    pub sealed_private: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs, while no younger key does; before that it is only known, so that every replica and
    /// every reader of the JWKS has it in time.
    pub signs_from: Timestamp,
    /// Since when tokens that it signed are refused; `None` while they are good.
    pub retired_at: Option<Timestamp>,
}

static ALL: Sql = Sql::select(
    "signing_keys",
    "SELECT kid, algorithm, public_key, sealed_private, created_at, COALESCE(signs_from, created_at) AS signs_from, \
     retired_at FROM signing_keys ORDER BY COALESCE(signs_from, created_at) DESC, kid DESC",
);
static UNRETIRED: Sql = Sql::select("signing_keys", "SELECT count(*) AS n FROM signing_keys WHERE retired_at IS NULL");
static INSERT: Sql = Sql::insert(
    "signing_keys",
    "INSERT INTO signing_keys (kid, algorithm, public_key, sealed_private, created_at, signs_from, retired_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
);

static RETIRE: Sql =
    Sql::update("signing_keys", "UPDATE signing_keys SET retired_at = $2 WHERE kid = $1 AND retired_at IS NULL");
static RESEAL: Sql = Sql::update("signing_keys", "UPDATE signing_keys SET sealed_private = $2 WHERE kid = $1");

fn read(row: &Row) -> Result<SigningKey, StoreError> {
    Ok(SigningKey {
        kid: row.get("kid")?,
        algorithm: row.get("algorithm")?,
        public_key: row.get("public_key")?,
        sealed_private: row.get("sealed_private")?,
        created_at: row.time("created_at")?,
        signs_from: row.time("signs_from")?,
        retired_at: row.optional_time("retired_at")?,
    })
}

impl<A: Access> Database<A> {
    /// Returns every key, newest first, including retired ones.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        self.all(&ALL, vec![]).await?.iter().map(read).collect()
    }
}

impl Tx {
    /// Every key while nobody else changes them.
    pub async fn lock_signing_keys(&mut self) -> Result<Vec<SigningKey>, StoreError> {
        self.lock(AdvisoryLock::SigningKeys).await?;
        self.signing_keys().await
    }

    /// From now on nothing that this key signed is good; `false` when there is no such key in use.
    pub async fn retire_signing_key(&mut self, kid: &str, at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.execute(&RETIRE, vec![kid.into(), at.into()]).await? == 1)
    }

    /// Stores a key's private half sealed anew.
    pub async fn reseal_signing_key(&mut self, kid: &str, sealed: &[u8]) -> Result<bool, StoreError> {
        Ok(self.execute(&RESEAL, vec![kid.into(), sealed.to_vec().into()]).await? == 1)
    }

    /// Stores a key.
    pub async fn insert_signing_key(&mut self, key: &SigningKey) -> Result<(), StoreError> {
        let values = vec![
            key.kid.clone().into(),
            key.algorithm.clone().into(),
            key.public_key.clone().into(),
            key.sealed_private.clone().into(),
            key.created_at.into(),
            key.signs_from.into(),
            key.retired_at.into(),
        ];
        self.execute(&INSERT, values).await.map(|_| ())
    }

    /// Stores the first key; `false` when there is one in use already, because another replica was quicker.
    pub async fn insert_first_signing_key(&mut self, key: &SigningKey) -> Result<bool, StoreError> {
        self.lock(AdvisoryLock::SigningKeys).await?;
        let unretired = self.one(&UNRETIRED, vec![]).await?.map_or(Ok(0), |row| row.count("n"))?;
        if unretired > 0 {
            return Ok(false);
        }
        self.insert_signing_key(key).await?;
        Ok(true)
    }
}

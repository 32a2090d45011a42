//! Signing keys, shared by all replicas; the private half only ever arrives here sealed.

use portcullis_model::Timestamp;

use crate::dialect::Lock;
use crate::error::StoreError;
use crate::statement::{Runs, Sql};
use crate::store::Store;
use crate::tx::Tx;

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
    /// Since when it signs no more; `None` while it does.
    pub retired_at: Option<Timestamp>,
}

static ALL: Sql = Sql::select(
    "signing_keys",
    "SELECT kid, algorithm, public_key, sealed_private, created_at, retired_at FROM signing_keys \
     ORDER BY created_at DESC, kid DESC",
);
static UNRETIRED: Sql = Sql::select("signing_keys", "SELECT count(*) AS n FROM signing_keys WHERE retired_at IS NULL");
static INSERT: Sql = Sql::insert(
    "signing_keys",
    "INSERT INTO signing_keys (kid, algorithm, public_key, sealed_private, created_at, retired_at) \
     VALUES ($1, $2, $3, $4, $5, $6)",
);

async fn all(on: &impl Runs) -> Result<Vec<SigningKey>, StoreError> {
    let rows = on.all(&ALL, vec![]).await?;
    rows.iter()
        .map(|row| {
            Ok(SigningKey {
                kid: row.get("kid")?,
                algorithm: row.get("algorithm")?,
                public_key: row.get("public_key")?,
                sealed_private: row.get("sealed_private")?,
                created_at: row.time("created_at")?,
                retired_at: row.optional_time("retired_at")?,
            })
        })
        .collect()
}

impl Store {
    /// Every key, newest first, retired ones too.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        all(self).await
    }
}

impl Tx {
    /// Every key, newest first, retired ones too.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        all(self).await
    }

    /// Stores a key.
    pub async fn insert_signing_key(&mut self, key: &SigningKey) -> Result<(), StoreError> {
        let values = vec![
            key.kid.clone().into(),
            key.algorithm.clone().into(),
            key.public_key.clone().into(),
            key.sealed_private.clone().into(),
            key.created_at.into(),
            key.retired_at.into(),
        ];
        self.execute(&INSERT, values).await.map(|_| ())
    }

    /// Stores the first key; `false` when there is one in use already, because another replica was quicker.
    pub async fn insert_first_signing_key(&mut self, key: &SigningKey) -> Result<bool, StoreError> {
        self.lock(Lock::SigningKeys).await?;
        let unretired = self.one(&UNRETIRED, vec![]).await?.map_or(Ok(0), |row| row.count("n"))?;
        if unretired > 0 {
            return Ok(false);
        }
        self.insert_signing_key(key).await?;
        Ok(true)
    }
}

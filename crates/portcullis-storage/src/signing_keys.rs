//! Signing keys, which all replicas share. The private half arrives here sealed.

use portcullis_model::Timestamp;

use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::columns::{FromRow, columns, sql};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::store::{Access, Database, Tx};

/// A key that signs access tokens.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The key's id in a token's header and in the JWKS.
    pub kid: String,
    /// The JWS algorithm (`EdDSA`).
    pub algorithm: String,
    /// The public half.
    pub public_key: Vec<u8>,
    /// The private half, sealed.
    pub sealed_private: Vec<u8>,
    /// When the key was created.
    pub created_at: Timestamp,
    /// When the key begins to sign, unless a newer key is already signing. Before that it is only published, so that every
    /// replica and every reader of the JWKS knows it in time.
    pub signs_from: Timestamp,
    /// When the tokens that the key signed became invalid; `None` while they are valid.
    pub retired_at: Option<Timestamp>,
}

columns! {
    SigningKey reads signing_keys {
        kid, algorithm, public_key, sealed_private, created_at,
        signs_from = "COALESCE(signing_keys.signs_from, signing_keys.created_at)", retired_at,
    }
}
columns! {
    SigningKey writes signing_keys { kid, algorithm, public_key, sealed_private, created_at, signs_from, retired_at }
}

static ALL: Sql = Sql::select(
    "signing_keys",
    sql!("SELECT ", SigningKey::COLUMNS, " FROM signing_keys ORDER BY COALESCE(signs_from, created_at) DESC, kid DESC"),
);
static UNRETIRED: Sql = Sql::select("signing_keys", "SELECT count(*) AS n FROM signing_keys WHERE retired_at IS NULL");
static RETIRE: Sql =
    Sql::update("signing_keys", "UPDATE signing_keys SET retired_at = $2 WHERE kid = $1 AND retired_at IS NULL");
static RESEAL: Sql = Sql::update("signing_keys", "UPDATE signing_keys SET sealed_private = $2 WHERE kid = $1");

impl<A: Access> Database<A> {
    /// Returns every key, newest first, including retired ones.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        self.all(&ALL, vec![]).await?.iter().map(SigningKey::from_row).collect()
    }
}

impl Tx {
    /// Returns every key, and keeps other transactions from changing the keys until this one ends.
    pub async fn lock_signing_keys(&mut self) -> Result<Vec<SigningKey>, StoreError> {
        self.lock(AdvisoryLock::SigningKeys).await?;
        self.signing_keys().await
    }

    /// Makes the tokens that this key signed invalid. Returns `false` when no key in use has this id.
    pub async fn retire_signing_key(&mut self, kid: &str, at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.execute(&RETIRE, vec![kid.into(), at.into()]).await? == 1)
    }

    /// Replaces a key's sealed private half. Returns `false` when no key has this id.
    pub async fn reseal_signing_key(&mut self, kid: &str, sealed: &[u8]) -> Result<bool, StoreError> {
        Ok(self.execute(&RESEAL, vec![kid.into(), sealed.to_vec().into()]).await? == 1)
    }

    /// Inserts a key.
    pub async fn insert_signing_key(&mut self, key: &SigningKey) -> Result<(), StoreError> {
        self.insert(key).await
    }

    /// Inserts the first key. Returns `false` when a key is in use already, because another replica was faster.
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

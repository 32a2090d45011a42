//! The keys that sign access tokens, and their rotation without refusing a valid token.

pub(crate) mod access_token;
pub(crate) mod key_set;
mod phases;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_model::{AccessTokenVerifier, Clock, Random, SecretRing, Timestamp};
use portcullis_storage::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::audit::Caller;
use crate::error::{IdentityError, StartError};
use crate::refresh_token::RefreshTokens;
use crate::sealing::Sealer;
use crate::signing_keys::access_token::TokenKeys;
use crate::signing_keys::key_set::{KeySet, SigningAlgorithm, make, reseal};
use crate::signing_keys::phases::details;

pub use phases::{KeyDetails, KeyPhase};

/// Interval at which replicas read new keys.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);
/// A new key is published this long before it signs, so that every replica and reader of the JWKS has it in time.
const NOTICE: Duration = Duration::from_secs(60);
/// The purpose of the keys that authenticate refresh tokens.
pub(crate) const REFRESH_TOKEN: &str = "refresh token";

/// Rotates, retires and publishes the keys that sign access tokens.
pub struct SigningKeys {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) keys: Arc<TokenKeys>,
    pub(crate) refresh_tokens: Arc<RefreshTokens>,
    pub(crate) sealer: ArcSwap<Sealer>,
    /// What the first key signs with.
    pub(crate) algorithm: SigningAlgorithm,
    /// Lifetime of access tokens.
    pub(crate) access_ttl: Duration,
    /// Whether `JWT_SECRET` signs instead of the keys in the database.
    pub(crate) shared_secret: bool,
}

/// Why a change of the signing keys was refused.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// `JWT_SECRET` signs, so keys in the database are not used.
    #[error("access tokens are signed with JWT_SECRET, and the keys in the database are not used")]
    SharedSecret,
    /// No key in use has this id.
    #[error("no key in use is called {0}")]
    Unknown(String),
    /// The key signs now.
    #[error("the key {0} signs access tokens now")]
    Signing(String),
    /// Valid tokens would be refused.
    #[error("tokens that the key {kid} signed may be valid until {until}")]
    Early {
        /// The id of the key.
        kid: String,
        /// When the last of its tokens expires.
        until: Timestamp,
    },
    /// The keys are sealed with an unknown secret.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The use case failed for another reason.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl RotationError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::SharedSecret => {
                Some("put a new secret as the first line of JWT_SECRET and the old one as the second")
            }
            Self::Unknown(_) => Some("`portcullis keys list` shows the keys"),
            Self::Signing(_) => Some("`portcullis keys rotate` makes the next key"),
            Self::Early { .. } => Some("wait until then, or add --force: users with such a token must sign in again"),
            Self::Start(error) => error.hint(),
            Self::Identity(_) => None,
        }
    }
}

impl From<StoreError> for RotationError {
    fn from(error: StoreError) -> Self {
        Self::Identity(error.into())
    }
}

impl SigningKeys {
    /// The verifier of access tokens, for the gate.
    pub fn access_tokens(&self) -> Arc<dyn AccessTokenVerifier> {
        Arc::clone(&self.keys) as Arc<dyn AccessTokenVerifier>
    }

    /// The public halves of the keys as a JWK set (RFC 7517).
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.jwks()
    }

    /// Sets how far in the future `nbf` and `iat` of an access token may lie, in force at once.
    pub fn set_clock_leeway(&self, leeway: Duration) {
        self.keys.set_clock_leeway(leeway);
    }

    /// Every key, newest first.
    pub async fn list(&self) -> Result<Vec<KeyDetails>, RotationError> {
        Ok(details(&self.store.signing_keys().await?, self.clock.now(), self.access_ttl))
    }

    /// Makes the key that signs next. It is published in the JWKS at once and signs after [`NOTICE`].
    pub async fn rotate(&self, algorithm: SigningAlgorithm, caller: &Caller) -> Result<KeyDetails, RotationError> {
        if self.shared_secret {
            return Err(RotationError::SharedSecret);
        }
        let now = self.clock.now();
        let made = make(algorithm, &self.sealer.load(), now, now + NOTICE);
        let mut tx = self.store.begin().await?;
        tx.lock_signing_keys().await?;
        tx.insert_signing_key(&made).await?;
        tx.append_audit(&caller.key_event("keys.rotate", now, &made.kid)).await?;
        tx.commit().await?;
        self.reload().await?;
        let keys = self.list().await?;
        keys.into_iter().find(|key| key.kid == made.kid).ok_or(RotationError::Unknown(made.kid))
    }

    /// Retires a key: tokens that it signed are refused from now on. `force` retires it even while its tokens may be
    /// valid.
    pub async fn retire(&self, kid: &str, force: bool, caller: &Caller) -> Result<(), RotationError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let keys = details(&tx.lock_signing_keys().await?, now, self.access_ttl);
        let key = keys.iter().find(|key| key.kid == kid && key.phase != KeyPhase::Retired);
        let key = key.ok_or_else(|| RotationError::Unknown(kid.to_owned()))?;
        match (key.phase, key.spent_at) {
            (KeyPhase::Signing, _) => return Err(RotationError::Signing(kid.to_owned())),
            (KeyPhase::Checking, Some(until)) if !force => {
                return Err(RotationError::Early { kid: kid.to_owned(), until });
            }
            _ => {}
        }
        tx.retire_signing_key(kid, now).await?;
        tx.append_audit(&caller.key_event("keys.retire", now, kid)).await?;
        tx.commit().await?;
        self.reload().await?;
        Ok(())
    }

    /// Seals every key with the first ENCRYPTION_KEY, so that the others can be removed. Returns the number of keys.
    pub async fn reseal(&self, caller: &Caller) -> Result<usize, RotationError> {
        let sealer = self.sealer.load();
        let mut tx = self.store.begin().await?;
        let keys = tx.lock_signing_keys().await?;
        for key in &keys {
            let sealed = reseal(key, &sealer).ok_or(StartError::Sealed)?;
            tx.reseal_signing_key(&key.kid, &sealed).await?;
        }
        tx.append_audit(&caller.key_event("keys.reseal", self.clock.now(), "all")).await?;
        tx.commit().await?;
        Ok(keys.len())
    }

    /// Reads the keys in the database and uses them from now on.
    pub async fn reload(&self) -> Result<(), StartError> {
        if !self.shared_secret {
            let keys = self.load(&self.sealer.load()).await?;
            self.keys.replace(keys);
        }
        Ok(())
    }

    /// Reads new keys until `stopping` is cancelled.
    pub async fn follow(&self, stopping: CancellationToken) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(RELOAD_INTERVAL) => {}
                () = stopping.cancelled() => return,
            }
            let outcome = self.reload().await;
            if let Err(error) = &outcome
                && !failing
            {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "the signing keys cannot be read; the keys in use stay in use"
                );
            }
            failing = outcome.is_err();
        }
    }

    /// Replaces the secrets without a restart. The first secret of each ring seals and signs, all of them open and
    /// verify. After an error the old secrets stay in use.
    pub async fn replace_secrets(&self, encryption: SecretRing, jwt: Option<&SecretRing>) -> Result<(), StartError> {
        let sealer = Sealer::new(encryption, self.random.clone());
        let keys = match jwt {
            Some(secrets) if self.shared_secret => KeySet::hmac(secrets, &self.keys.trust_scope()),
            None if !self.shared_secret => self.load(&sealer).await?,
            _ => return Err(StartError::OtherKind),
        };
        self.keys.replace(keys);
        self.refresh_tokens.replace_keys(sealer.mac_keys(REFRESH_TOKEN));
        self.sealer.store(Arc::new(sealer));
        Ok(())
    }

    /// The keys in the database, newest first. The first key is made when there is none.
    async fn load(&self, sealer: &Sealer) -> Result<KeySet, StartError> {
        let scope = self.keys.trust_scope();
        let read = async || KeySet::from_stored(&self.store.signing_keys().await?, sealer, &scope);
        if let Some(keys) = read().await? {
            return Ok(keys);
        }
        let now = self.clock.now();
        let made = make(self.algorithm, sealer, now, now);
        let mut tx = self.store.begin().await?;
        // Inserts nothing when another replica was first; then that replica's key is read below.
        tx.insert_first_signing_key(&made).await?;
        tx.commit().await?;
        read().await?.ok_or(StartError::Key { kid: made.kid })
    }
}

//! Changing the keys that sign access tokens without refusing one that is good.

use std::time::Duration;

use portcullis_model::{SecretRing, Timestamp};
use portcullis_storage::SigningKey;
use tokio_util::sync::CancellationToken;

use crate::audit::Caller;
use crate::error::{IdentityError, StartError};
use crate::identity::{Identity, Parts};
use crate::seal::Sealer;
use crate::signing_keys::{KeySet, SigningAlgorithm, make, reseal};

/// How often replicas look for new keys.
const LOOK: Duration = Duration::from_secs(10);
/// How long a new key is known before it signs: several looks, and time for readers of the JWKS to fetch it.
const NOTICE: Duration = Duration::from_secs(60);

/// What a key is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPhase {
    /// It is known and will sign.
    Next,
    /// It signs.
    Signing,
    /// It has signed; tokens of it may still be good.
    Checking,
    /// It has signed; no token of it can be good any more.
    Spent,
    /// Nothing that it signed is good.
    Retired,
}

impl KeyPhase {
    /// The word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Checking => "checking",
            Self::Spent => "spent",
            Self::Retired => "retired",
        }
    }
}

/// A key as operators see it.
#[derive(Clone, Debug)]
pub struct KeyView {
    /// Its name in tokens and in the JWKS.
    pub kid: String,
    /// What it signs with.
    pub algorithm: String,
    /// What it is doing.
    pub phase: KeyPhase,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// From when on no token that it signed can be good; `None` while it signs or will sign.
    pub spent_at: Option<Timestamp>,
    /// Since when nothing that it signed is good.
    pub retired_at: Option<Timestamp>,
}

/// Why keys stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// There are none in the database.
    #[error("access tokens are signed with JWT_SECRET, and no key in the database is used")]
    SharedSecret,
    /// No such key.
    #[error("no key in use is called {0}")]
    Unknown(String),
    /// It is the one that signs, or the only one.
    #[error("the key {0} signs access tokens now")]
    Signing(String),
    /// Good tokens would be refused.
    #[error("tokens that the key {kid} signed may be good until {until}")]
    Early {
        /// Which key.
        kid: String,
        /// Until when.
        until: Timestamp,
    },
    /// Keys are sealed with a secret that is not known.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Storage.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl RotationError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::SharedSecret => Some("put a new secret as the first line of JWT_SECRET, the old one as the second"),
            Self::Unknown(_) => Some("`portcullis keys list` shows them"),
            Self::Signing(_) => Some("`portcullis keys rotate` makes the next one"),
            Self::Early { .. } => Some("wait until then, or add --force: whoever holds such a token must sign in anew"),
            Self::Start(error) => error.hint(),
            Self::Identity(_) => None,
        }
    }
}

impl From<portcullis_storage::StoreError> for RotationError {
    fn from(error: portcullis_storage::StoreError) -> Self {
        Self::Identity(error.into())
    }
}

impl Parts {
    /// The signing keys of the database, youngest first; the first one is made if there is none.
    pub(crate) async fn load_keys(&self, sealer: &Sealer) -> Result<KeySet, StartError> {
        let read = async || KeySet::from_stored(&self.store.signing_keys().await?, sealer, &self.trust_in());
        if let Some(keys) = read().await? {
            return Ok(keys);
        }
        let now = self.clock.now();
        let made = make(self.options.signing_algorithm, sealer, now, now);
        let mut tx = self.store.begin().await?;
        // Another replica may have been first: then its key is the one.
        tx.insert_first_signing_key(&made).await?;
        tx.commit().await?;
        read().await?.ok_or(StartError::Key { kid: made.kid })
    }

    fn views(&self, keys: &[SigningKey], now: Timestamp) -> Vec<KeyView> {
        let mut views = Vec::with_capacity(keys.len());
        // From when on a younger key signs, so that this one does no more.
        let mut successor: Option<Timestamp> = None;
        for key in keys {
            let spent_at = successor.map(|from| from.max(key.created_at) + self.options.access_ttl);
            let phase = match (key.retired_at, successor) {
                (Some(_), _) => KeyPhase::Retired,
                (None, _) if key.signs_from > now => KeyPhase::Next,
                (None, Some(from)) if from <= now => {
                    if spent_at.is_some_and(|at| at <= now) {
                        KeyPhase::Spent
                    } else {
                        KeyPhase::Checking
                    }
                }
                (None, _) => KeyPhase::Signing,
            };
            if key.retired_at.is_none() {
                successor = Some(key.signs_from);
            }
            views.push(KeyView {
                kid: key.kid.clone(),
                algorithm: key.algorithm.clone(),
                phase,
                created_at: key.created_at,
                signs_from: key.signs_from,
                spent_at,
                retired_at: key.retired_at,
            });
        }
        views
    }
}

impl Identity {
    /// Every key, youngest first.
    pub async fn keys(&self) -> Result<Vec<KeyView>, RotationError> {
        Ok(self.views(&self.store.signing_keys().await?, self.clock.now()))
    }

    /// Makes the key that signs next. Until then it is in the JWKS, so that everybody has it in time.
    pub async fn rotate_keys(&self, algorithm: SigningAlgorithm, caller: &Caller) -> Result<KeyView, RotationError> {
        if self.options.jwt_secret.is_some() {
            return Err(RotationError::SharedSecret);
        }
        let now = self.clock.now();
        let made = make(algorithm, &self.sealer.load(), now, now + NOTICE);
        let mut tx = self.store.begin().await?;
        tx.lock_signing_keys().await?;
        tx.insert_signing_key(&made).await?;
        tx.append_audit(&caller.key_event("keys.rotate", now, &made.kid)).await?;
        tx.commit().await?;
        self.refresh_keys().await?;
        let views = self.keys().await?;
        views.into_iter().find(|view| view.kid == made.kid).ok_or(RotationError::Unknown(made.kid))
    }

    /// From now on refuses what a key signed. With `force` also while its tokens may be good.
    pub async fn retire_key(&self, kid: &str, force: bool, caller: &Caller) -> Result<(), RotationError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let views = self.views(&tx.lock_signing_keys().await?, now);
        let key = views.iter().find(|view| view.kid == kid && view.phase != KeyPhase::Retired);
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
        self.refresh_keys().await?;
        Ok(())
    }

    /// Seals every key with the first ENCRYPTION_KEY, so that the others can go; says how many.
    pub async fn reseal_keys(&self, caller: &Caller) -> Result<usize, RotationError> {
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

    /// Puts the keys that the database holds now in force.
    pub async fn refresh_keys(&self) -> Result<(), StartError> {
        if self.options.jwt_secret.is_none() {
            let keys = self.load_keys(&self.sealer.load()).await?;
            self.keys.replace(keys);
        }
        Ok(())
    }

    /// Looks for new keys until `stopping` is cancelled.
    pub async fn follow_keys(self, stopping: CancellationToken) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stopping.cancelled() => return,
            }
            let outcome = self.refresh_keys().await;
            if let Err(error) = &outcome
                && !failing
            {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "the signing keys cannot be read; those in force stay"
                );
            }
            failing = outcome.is_err();
        }
    }

    /// Puts other secrets in force, without a restart: the first seals and signs, all open and check. On an error
    /// nothing changes.
    pub async fn replace_secrets(&self, encryption: SecretRing, jwt: Option<&SecretRing>) -> Result<(), StartError> {
        let sealer = Sealer::new(encryption, self.random.clone());
        let keys = match jwt {
            Some(secrets) if self.options.jwt_secret.is_some() => KeySet::hmac(secrets, &self.trust_in()),
            None if self.options.jwt_secret.is_none() => self.load_keys(&sealer).await?,
            _ => return Err(StartError::OtherKind),
        };
        self.keys.replace(keys);
        self.refresh_tokens.replace_keys(sealer.mac_keys("refresh token"));
        self.sealer.store(std::sync::Arc::new(sealer));
        Ok(())
    }
}

//! What the use cases work with.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::policy::Environment;
use portcullis_model::{AccessTokens, Clock, Random, SecretString};
use portcullis_storage::{SessionTable, Store};
use portcullis_telemetry::Metrics;

use crate::access_token::TokenKeys;
use crate::demo::{Demo, DemoOptions};
use crate::deny_list::DenyList;
use crate::error::StartError;
use crate::hashing::{HashingOptions, HashingRoom};
use crate::password_policy::PasswordPolicy;
use crate::refresh_token::RefreshTokens;
use crate::seal::Sealer;
use crate::signing_keys::KeySet;

/// The use cases of identity. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Parts>);

/// What identity is made of.
pub struct IdentityParts {
    /// Where people and sessions are kept.
    pub store: Store,
    /// The sessions this process knows.
    pub sessions: Arc<SessionTable>,
    /// The clock.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Counts attempts.
    pub metrics: Metrics,
}

/// How identity behaves.
pub struct IdentityOptions {
    /// Development, production or test.
    pub environment: Environment,
    /// `iss` of access tokens.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// How long an access token lives.
    pub access_ttl: Duration,
    /// How long a session lives without a refresh.
    pub refresh_idle: Duration,
    /// How long a session lives at most.
    pub absolute: Duration,
    /// The same with `rememberMe`.
    pub absolute_remember: Duration,
    /// How long a rotated refresh token still gets its successor.
    pub grace: Duration,
    /// The shortest new password, in code points.
    pub min_password: usize,
    /// Passwords that are not accepted, besides the commonest.
    pub denied_passwords: DenyList,
    /// Whether failed sign-ins slow down further ones.
    pub throttle: bool,
    /// Who may register.
    pub registration: Registration,
    /// The demo account.
    pub demo: Option<DemoOptions>,
    /// HS256 instead of Ed25519.
    pub jwt_secret: Option<SecretString>,
    /// The first seals, all open.
    pub encryption_keys: Vec<SecretString>,
    /// The hashing room.
    pub hashing: HashingOptions,
    /// Where links in mails lead, without a slash at the end.
    pub public_url: String,
}

/// Who may register, and what comes after.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    /// Who may.
    pub mode: RegistrationMode,
    /// Whether an address must be confirmed before the first sign-in.
    pub require_verified_email: bool,
    /// Whether registering with a known address is answered as such, or like any other.
    pub reveal_existing: bool,
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Everybody.
    Open,
    /// Whoever was invited; not by registering.
    Invite,
    /// Nobody; accounts are made by administrators.
    Closed,
}

pub struct Parts {
    pub(crate) store: Store,
    pub(crate) sessions: Arc<SessionTable>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) metrics: Metrics,
    pub(crate) options: IdentityOptions,
    pub(crate) policy: PasswordPolicy,
    pub(crate) hashing: HashingRoom,
    pub(crate) keys: Arc<TokenKeys>,
    pub(crate) refresh_tokens: RefreshTokens,
    pub(crate) demo: Option<Demo>,
}

impl Identity {
    /// Loads the signing keys, or makes the first one.
    pub async fn start(parts: IdentityParts, mut options: IdentityOptions) -> Result<Self, StartError> {
        let IdentityParts { store, sessions, clock, random, metrics } = parts;
        let sealer = Sealer::new(std::mem::take(&mut options.encryption_keys), random.clone());
        let trust_in = format!("{}\n{}", options.issuer, options.audience);
        let keys = match &options.jwt_secret {
            Some(secret) => KeySet::hmac(secret, &trust_in),
            None => KeySet::load(&store, &sealer, &clock, &trust_in).await?,
        };
        let demo = options.demo.take().map(|demo| Demo::new(demo, options.environment));
        let accepts_demo = demo.as_ref().is_some_and(|demo| !demo.is_refused());
        let keys = TokenKeys::new(keys, options.issuer.clone(), options.audience.clone(), accepts_demo);
        let refresh_tokens = RefreshTokens::new(sealer.mac_keys("refresh token"), random.clone());
        let hashing = HashingRoom::start(options.hashing, random.clone()).map_err(StartError::Threads)?;
        let denied = std::mem::take(&mut options.denied_passwords);
        let policy = PasswordPolicy::new(options.min_password, denied, &options.public_url);
        Ok(Self(Arc::new(Parts {
            store,
            sessions,
            clock,
            random,
            metrics,
            options,
            policy,
            hashing,
            keys,
            refresh_tokens,
            demo,
        })))
    }

    /// Verifies access tokens, for the gate.
    pub fn tokens(&self) -> Arc<dyn AccessTokens> {
        Arc::clone(&self.keys) as Arc<dyn AccessTokens>
    }

    /// The public halves of the signing keys.
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.jwks()
    }

    /// The room where passwords are hashed.
    pub fn hashing(&self) -> &HashingRoom {
        &self.0.hashing
    }

    /// Where people and sessions are kept.
    pub fn store(&self) -> &Store {
        &self.0.store
    }
}

impl Deref for Identity {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

//! What the use cases work with.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_model::policy::Environment;
use portcullis_model::{AccessTokenVerifier, Clock, Random, SecretRing, SessionSource};
use portcullis_sessions::SessionCache;
use portcullis_storage::Store;
use portcullis_telemetry::Metrics;

use crate::access_token::TokenKeys;
use crate::demo::{Demo, DemoOptions};
use crate::error::StartError;
use crate::hashing::{HashingOptions, HashingRoom};
use crate::password_policy::PasswordPolicy;
use crate::password_policy::deny_list::DenyList;
use crate::refresh_token::RefreshTokens;
use crate::seal::Sealer;
use crate::signing_keys::{KeySet, SigningAlgorithm};

/// The use cases of identity. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Parts>);

/// What identity is made of.
pub struct IdentityParts {
    /// Where people and sessions are kept.
    pub store: Store,
    /// The sessions this process knows.
    pub sessions: Arc<SessionCache>,
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
    /// What new signing keys sign with.
    pub signing_algorithm: SigningAlgorithm,
    /// HS256 instead of keys in the database; the first signs, all check.
    pub jwt_secret: Option<SecretRing>,
    /// The first seals, all open.
    pub encryption_keys: SecretRing,
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
    pub(crate) sessions: Arc<SessionCache>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) metrics: Metrics,
    pub(crate) options: IdentityOptions,
    pub(crate) policy: PasswordPolicy,
    pub(crate) hashing: HashingRoom,
    pub(crate) keys: Arc<TokenKeys>,
    pub(crate) sealer: ArcSwap<Sealer>,
    pub(crate) refresh_tokens: RefreshTokens,
    pub(crate) demo: Option<Demo>,
}

impl Identity {
    /// Loads the signing keys, or makes the first one.
    pub async fn start(parts: IdentityParts, mut options: IdentityOptions) -> Result<Self, StartError> {
        let IdentityParts { store, sessions, clock, random, metrics } = parts;
        let sealer = Sealer::new(options.encryption_keys.clone(), random.clone());
        let demo = options.demo.take().map(|demo| Demo::new(demo, options.environment));
        let accepts_demo = demo.as_ref().is_some_and(|demo| !demo.is_refused());
        let keys = TokenKeys::new(options.issuer.clone(), options.audience.clone(), accepts_demo);
        let refresh_tokens = RefreshTokens::new(sealer.mac_keys("refresh token"), random.clone());
        let hashing = HashingRoom::start(options.hashing, random.clone()).map_err(StartError::Threads)?;
        let denied = std::mem::take(&mut options.denied_passwords);
        let policy = PasswordPolicy::new(options.min_password, denied, &options.public_url);
        let identity = Self(Arc::new(Parts {
            store,
            sessions,
            clock,
            random,
            metrics,
            options,
            policy,
            hashing,
            keys,
            sealer: ArcSwap::from_pointee(sealer),
            refresh_tokens,
            demo,
        }));
        let keys = match &identity.options.jwt_secret {
            Some(secrets) => KeySet::hmac(secrets, &identity.trust_in()),
            None => identity.load_keys(&identity.sealer.load()).await?,
        };
        identity.keys.replace(keys);
        Ok(identity)
    }

    /// Verifies access tokens, for the gate.
    pub fn tokens(&self) -> Arc<dyn AccessTokenVerifier> {
        Arc::clone(&self.keys) as Arc<dyn AccessTokenVerifier>
    }

    /// Looks sessions up, for the gate.
    pub fn session_source(&self) -> Arc<dyn SessionSource> {
        Arc::clone(&self.0.sessions) as Arc<dyn SessionSource>
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

impl Parts {
    /// What tokens are good for: differs whenever they must be verified anew.
    pub(crate) fn trust_in(&self) -> String {
        format!("{}\n{}", self.options.issuer, self.options.audience)
    }
}

impl Deref for Identity {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

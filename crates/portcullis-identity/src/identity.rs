//! The services of identity, made from their parts in one place.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_model::policy::Environment;
use portcullis_model::{Clock, Random, SecretRing};
use portcullis_sessions::SessionCache;
use portcullis_storage::Store;
use portcullis_telemetry::Metrics;

use crate::administration::Administration;
use crate::api_keys::ApiKeys;
use crate::demo_account::{DemoAccount, DemoMode, DemoOptions};
use crate::error::StartError;
use crate::hashing::{HashingOptions, PasswordHasher};
use crate::idempotency::IdempotentOutcomes;
use crate::import::Import;
use crate::mail_links::MailLinks;
use crate::mail_requests::MailRequests;
use crate::mailer::Mailer;
use crate::one_time_token::OneTimeTokens;
use crate::outliving::Outliving;
use crate::password_policy::PasswordPolicy;
use crate::password_policy::deny_list::DenyList;
use crate::passwords::Passwords;
use crate::refresh_token::RefreshTokens;
use crate::registration::{Registration, RegistrationOptions};
use crate::sealing::Sealer;
use crate::session_issuer::{SessionIssuer, SessionLifetimes};
use crate::sessions::Sessions;
use crate::sign_in::SignIn;
use crate::signing_keys::access_token::TokenKeys;
use crate::signing_keys::key_set::{KeySet, SigningAlgorithm};
use crate::signing_keys::{REFRESH_TOKEN, SigningKeys};
use crate::throttle::Throttle;
use crate::users::Users;

/// All services of identity. Each holds only the parts that it uses.
pub struct Identity {
    /// Login, refresh and logout.
    pub sign_in: SignIn,
    /// Registration, verification of addresses, the first administrator.
    pub registration: Registration,
    /// The caller's own sessions.
    pub sessions: Sessions,
    /// The caller's own profile.
    pub users: Users,
    /// Other users, for administrators and the command line.
    pub administration: Administration,
    /// Changing and resetting passwords.
    pub passwords: Passwords,
    /// The caller's own API keys.
    pub api_keys: ApiKeys,
    /// The keys that sign access tokens.
    pub signing_keys: SigningKeys,
    /// The outbox of mails.
    pub mailer: Mailer,
    /// Import of users of another program.
    pub import: Import,
    /// The demo account.
    pub demo_account: DemoAccount,
    /// The pool that hashes passwords.
    pub password_hasher: Arc<PasswordHasher>,
}

/// The parts of other crates that identity is made from.
pub struct IdentityParts {
    /// The database.
    pub store: Store,
    /// The cache of sessions in this process.
    pub sessions: Arc<SessionCache>,
    /// The clock of every decision.
    pub clock: Clock,
    /// The source of tokens and ids.
    pub random: Random,
    /// The registry that counts attempts.
    pub metrics: Metrics,
}

/// The settings of identity.
pub struct IdentityOptions {
    /// Development, production or test.
    pub environment: Environment,
    /// The claim `iss` of access tokens.
    pub issuer: String,
    /// The claim `aud` of access tokens.
    pub audience: String,
    /// How long tokens and sessions live.
    pub lifetimes: SessionLifetimes,
    /// How long after a rotation the old refresh token still gets its successor.
    pub grace: Duration,
    /// How far in the future `nbf` and `iat` of an access token may lie (`session.clock_leeway`).
    pub clock_leeway: Duration,
    /// The shortest new password, in code points.
    pub min_password: usize,
    /// Refused passwords besides the most used ones.
    pub denied_passwords: DenyList,
    /// Whether failed sign-ins slow down further ones (`password.throttle`).
    pub throttle: bool,
    /// Who may register.
    pub registration: RegistrationOptions,
    /// The demo account, when demo mode is enabled.
    pub demo: Option<DemoOptions>,
    /// The algorithm of new signing keys.
    pub signing_algorithm: SigningAlgorithm,
    /// `JWT_SECRET`: HS256 instead of the keys in the database. The first secret signs, all verify.
    pub jwt_secret: Option<SecretRing>,
    /// `ENCRYPTION_KEY`: the first secret seals, all open.
    pub encryption_keys: SecretRing,
    /// The size of the hashing pool.
    pub hashing: HashingOptions,
    /// The base of links in mails, without a slash at its end.
    pub public_url: String,
}

impl Identity {
    /// Makes the services, and loads the signing keys or makes the first one.
    pub async fn start(parts: IdentityParts, options: IdentityOptions) -> Result<Self, StartError> {
        let IdentityParts { store, sessions: cache, clock, random, metrics } = parts;
        let sealer = Sealer::new(options.encryption_keys, random.clone());
        let demo = Arc::new(DemoMode { options: options.demo, environment: options.environment });
        let keys = TokenKeys::new(options.issuer, options.audience, demo.is_accepted());
        keys.set_clock_leeway(options.clock_leeway);
        let refresh_tokens = Arc::new(RefreshTokens::new(sealer.mac_keys(REFRESH_TOKEN), random.clone()));
        let hasher =
            PasswordHasher::start(options.hashing, random.clone(), metrics.clone()).map_err(StartError::Threads)?;
        let hasher = Arc::new(hasher);
        let policy = PasswordPolicy::new(options.min_password, options.denied_passwords, &options.public_url);
        let policy = Arc::new(policy);
        let outliving = Outliving::default();
        let throttle = Throttle { store: store.clone(), clock: clock.clone(), enabled: options.throttle };
        let issuer = SessionIssuer {
            clock: clock.clone(),
            random: random.clone(),
            keys: Arc::clone(&keys),
            refresh_tokens: Arc::clone(&refresh_tokens),
            lifetimes: options.lifetimes,
        };
        let tokens = OneTimeTokens { clock: clock.clone(), random: random.clone() };
        let links = MailLinks {
            store: store.clone(),
            tokens: tokens.clone(),
            public_url: Arc::new(ArcSwap::from_pointee(options.public_url)),
        };
        let mail_requests = MailRequests { store: store.clone(), clock: clock.clone() };
        let outcomes = IdempotentOutcomes { store: store.clone(), clock: clock.clone() };
        let signing_keys = SigningKeys {
            store: store.clone(),
            clock: clock.clone(),
            random: random.clone(),
            keys: Arc::clone(&keys),
            refresh_tokens,
            sealer: ArcSwap::from_pointee(sealer),
            algorithm: options.signing_algorithm,
            access_ttl: options.lifetimes.access,
            shared_secret: options.jwt_secret.is_some(),
        };
        match &options.jwt_secret {
            Some(secrets) => keys.replace(KeySet::hmac(secrets, &keys.trust_scope())),
            None => signing_keys.reload().await?,
        }
        Ok(Self {
            sign_in: SignIn {
                store: store.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
                hasher: Arc::clone(&hasher),
                throttle: throttle.clone(),
                issuer: issuer.clone(),
                require_verified_email: options.registration.require_verified_email,
                grace: options.grace,
                demo: Arc::clone(&demo),
                outliving: outliving.clone(),
            },
            registration: Registration {
                store: store.clone(),
                clock: clock.clone(),
                random: random.clone(),
                metrics: metrics.clone(),
                policy: Arc::clone(&policy),
                hasher: Arc::clone(&hasher),
                issuer,
                tokens,
                mail_requests: mail_requests.clone(),
                options: options.registration,
            },
            sessions: Sessions { store: store.clone(), cache: Arc::clone(&cache), clock: clock.clone() },
            users: Users { store: store.clone(), cache: Arc::clone(&cache), clock: clock.clone() },
            administration: Administration {
                store: store.clone(),
                cache: Arc::clone(&cache),
                clock: clock.clone(),
                random: random.clone(),
                policy: Arc::clone(&policy),
                hasher: Arc::clone(&hasher),
                outcomes: outcomes.clone(),
                require_verified_email: options.registration.require_verified_email,
            },
            passwords: Passwords {
                store: store.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
                policy,
                hasher: Arc::clone(&hasher),
                throttle,
                links: links.clone(),
                mail_requests,
                outliving,
            },
            api_keys: ApiKeys { store: store.clone(), clock: clock.clone(), random: random.clone(), outcomes, cache },
            signing_keys,
            mailer: Mailer { store: store.clone(), clock: clock.clone(), metrics, links },
            demo_account: DemoAccount {
                store: store.clone(),
                clock: clock.clone(),
                hasher: Arc::clone(&hasher),
                mode: demo,
            },
            import: Import { store, clock, random },
            password_hasher: hasher,
        })
    }
}

//! A gate without a server, for `portcullis explain`: it judges one request and changes nothing.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_gate::{DryRun, Explanation, Gate, GateParts};
use portcullis_identity::Identity;
use portcullis_model::{
    AccessTokenVerifier, Clock, Random, SecretRing, SessionId, SessionSource, SessionState, SessionsUnavailable,
    TokenError, VerifiedToken,
};
use portcullis_telemetry::Metrics;

use super::{StartError, gate_config};
use portcullis_settings::{Secrets, Settings, new_secret};

/// Explains what the gate would decide on a request under these settings. Without `identity` no credential is known.
pub async fn explain(
    settings: &Settings,
    identity: Option<&Identity>,
    dry_run: &DryRun,
) -> Result<Explanation, StartError> {
    let random = Random::system();
    let metrics = Metrics::new(&settings.metrics.families, env!("CARGO_PKG_VERSION"));
    let secrets = match identity {
        Some(_) => settings.load_or_create_secrets(&random)?,
        // A dry run writes no secrets file. So a CSRF token of the running gateway is taken for a forged one.
        None => temporary_secrets(settings, &random),
    };
    let (tokens, sessions): (Arc<dyn AccessTokenVerifier>, Arc<dyn SessionSource>) = match identity {
        Some(identity) => (identity.signing_keys.access_tokens(), identity.sessions.source()),
        None => (Arc::new(NoCredentials), Arc::new(NoCredentials)),
    };
    let parts = GateParts { tokens, sessions, shared_limits: None, clock: Clock::system(), random, metrics };
    let config = gate_config(settings, &secrets, &parts.metrics, &parts.clock)?;
    Ok(Gate::new(parts, config).explain(dry_run).await)
}

/// The configured secrets, and random ones in place of those that are missing.
fn temporary_secrets(settings: &Settings, random: &Random) -> Secrets {
    let configured = &settings.secrets;
    let secret = |known: &Option<SecretRing>| known.clone().unwrap_or_else(|| new_secret(random).into());
    Secrets { csrf: secret(&configured.csrf), encryption: secret(&configured.encryption), jwt: configured.jwt.clone() }
}

/// Accepts no token and knows no session.
struct NoCredentials;

impl AccessTokenVerifier for NoCredentials {
    fn verify(&self, _token: &str, _now: i64) -> Result<VerifiedToken, TokenError> {
        Err(TokenError::Signature)
    }

    fn trust(&self) -> u64 {
        0
    }
}

impl SessionSource for NoCredentials {
    fn cached(&self, _id: SessionId) -> Option<Arc<SessionState>> {
        None
    }

    fn load(
        &self,
        _id: SessionId,
        _user_epoch: i64,
    ) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        std::future::ready(Ok(None)).boxed()
    }
}

//! A gate that serves nobody, for `portcullis explain`.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_gate::{Explanation, Gate, GateParts, Rehearsal};
use portcullis_identity::Identity;
use portcullis_model::{
    AccessTokenVerifier, Clock, Random, SecretRing, SessionId, SessionSource, SessionState, SessionsUnavailable,
    TokenError, VerifiedToken,
};
use portcullis_telemetry::Metrics;

use super::ServeError;
use super::wiring::gate_config;
use portcullis_settings::{Secrets, Settings, new_secret};

/// Judges a request by these settings; without identity, nobody is known.
pub async fn rehearse(
    settings: &Settings,
    identity: Option<&Identity>,
    rehearsal: &Rehearsal,
) -> Result<Explanation, ServeError> {
    let random = Random::system();
    let metrics = Metrics::new(&settings.metrics, env!("CARGO_PKG_VERSION"));
    let secrets = match identity {
        Some(_) => settings.keep_secrets(&random)?,
        // Nothing is made for a question; a CSRF token of the gateway's own would be taken for a forged one.
        None => made_up(settings, &random),
    };
    let (tokens, sessions): (Arc<dyn AccessTokenVerifier>, Arc<dyn SessionSource>) = match identity {
        Some(identity) => (identity.tokens(), identity.session_source()),
        None => (Arc::new(Nobody), Arc::new(Nobody)),
    };
    let parts = GateParts { tokens, sessions, shared_limits: None, clock: Clock::system(), random, metrics };
    let config = gate_config(settings, &secrets, &parts.metrics)?;
    Ok(Gate::new(parts, config).explain(rehearsal).await)
}

fn made_up(settings: &Settings, random: &Random) -> Secrets {
    let configured = &settings.secrets;
    let secret = |known: &Option<SecretRing>| known.clone().unwrap_or_else(|| new_secret(random).into());
    Secrets { csrf: secret(&configured.csrf), encryption: secret(&configured.encryption), jwt: configured.jwt.clone() }
}

/// Knows nobody.
struct Nobody;

impl AccessTokenVerifier for Nobody {
    fn verify(&self, _token: &str, _now: i64) -> Result<VerifiedToken, TokenError> {
        Err(TokenError::Signature)
    }

    fn trust(&self) -> u64 {
        0
    }
}

impl SessionSource for Nobody {
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

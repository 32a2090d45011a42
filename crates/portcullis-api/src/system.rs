//! The gateway itself: its name, keys and versions (`docs/contract.md`, "System endpoints").

pub(crate) mod csrf;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod starting;

use std::collections::BTreeMap;

use http::HeaderValue;
use http::header::CACHE_CONTROL;
use portcullis_gate::{VersionStage, VersionsAt};
use portcullis_model::ApiTime;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use crate::operation::{Example, Operation, Output, Tag, without_envelope};
use crate::{ApiError, Call, Reply};

pub(crate) const ROOT: Operation =
    Operation::new("root", Tag::System, "Show the name and version of the gateway", "Portcullis is running");

pub(crate) const JWKS: Operation = Operation::new("jwks", Tag::System, "Public keys of access tokens (RFC 7517)", "");

pub(crate) const VERSIONS: Operation =
    Operation::new("versions", Tag::System, "List the versions of the API", "API versions");

/// The running gateway.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct About {
    name: &'static str,
    version: &'static str,
    #[schemars(extend("enum" = ["development", "production", "test"]))]
    environment: &'static str,
    /// Seconds since the process started.
    uptime: f64,
}

impl Example for About {
    fn example() -> Value {
        json!({ "name": "Portcullis", "version": "0.1.0", "environment": "production", "uptime": 3600.5 })
    }
}

/// A JWK set; RFC 7517 defines its form.
pub(crate) struct JwkSet;

impl Output for JwkSet {
    fn describe(_operation: &Operation, _schemas: &mut SchemaGenerator) -> Value {
        let key = json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "kid": "2026-11",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "use": "sig",
            "alg": "EdDSA",
        });
        without_envelope(&[("application/json", json!({ "keys": [key] }))])
    }
}

/// The versions of the API and the stage of each.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Versions {
    /// The version of requests that name none.
    current: String,
    /// Every version that is served, deprecated ones included.
    supported: Vec<String>,
    deprecated: Vec<String>,
    sunset: Vec<String>,
    details: BTreeMap<String, Version>,
}

/// One version of the API.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: String,
    status: Stage,
    release_date: Option<ApiTime>,
    deprecation_date: Option<ApiTime>,
    sunset_date: Option<ApiTime>,
    documentation: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Stage {
    Supported,
    Deprecated,
    Sunset,
}

impl From<VersionsAt> for Versions {
    fn from(state: VersionsAt) -> Self {
        let VersionsAt { current, supported, versions } = state;
        let named = |wanted: VersionStage| {
            let at_stage = versions.iter().filter(|(_, stage)| *stage == wanted);
            at_stage.map(|(version, _)| version.name.clone()).collect()
        };
        let (deprecated, sunset) = (named(VersionStage::Deprecated), named(VersionStage::Sunset));
        let details = versions.into_iter().map(|(version, stage)| (version.name.clone(), Version::new(version, stage)));
        Self { current, supported, deprecated, sunset, details: details.collect() }
    }
}

impl Version {
    fn new(version: portcullis_gate::Version, stage: VersionStage) -> Self {
        Self {
            version: version.name,
            status: match stage {
                VersionStage::Supported => Stage::Supported,
                VersionStage::Deprecated => Stage::Deprecated,
                VersionStage::Sunset => Stage::Sunset,
            },
            release_date: version.released_at.map(ApiTime),
            deprecation_date: version.deprecated_at.map(ApiTime),
            sunset_date: version.sunset_at.map(ApiTime),
            documentation: version.documentation,
        }
    }
}

impl Example for Versions {
    fn example() -> Value {
        json!({
            "current": "v1",
            "supported": ["v1"],
            "deprecated": [],
            "sunset": [],
            "details": {
                "v1": {
                    "version": "v1",
                    "status": "supported",
                    "releaseDate": null,
                    "deprecationDate": null,
                    "sunsetDate": null,
                    "documentation": "/api/docs",
                },
            },
        })
    }
}

/// `GET /`
pub(crate) async fn root(call: Call) -> Result<Reply<About>, ApiError> {
    let services = &call.services;
    Ok(ROOT.reply(&About {
        name: "Portcullis",
        version: env!("CARGO_PKG_VERSION"),
        environment: services.environment.as_str(),
        uptime: services.lifecycle.uptime_seconds(),
    }))
}

/// `GET /.well-known/jwks.json`
pub(crate) async fn jwks(call: Call) -> Result<Reply<JwkSet>, ApiError> {
    let keys = call.services.identity.signing_keys.jwks().to_string();
    // One minute, so that verifiers know a new key before it signs.
    Ok(Reply::without_envelope("application/json", keys)
        .header(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60")))
}

/// `GET /api/v1/versions`
pub(crate) async fn versions(call: Call) -> Result<Reply<Versions>, ApiError> {
    let state = call.services.gate.versions(call.services.clock.now());
    Ok(VERSIONS.reply(&Versions::from(state)))
}

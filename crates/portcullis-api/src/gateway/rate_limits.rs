//! The rate limits in force, the state of one key, and its reset.

use std::collections::BTreeMap;
use std::net::IpAddr;

use portcullis_gate::{Gate, RateLimitKey, RateLimitReset, RateLimitUsage};
use portcullis_model::{Limit, SessionId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::input::{Parsed, Query};
use crate::operation::{Example, Operation, Tag, example_of};
use crate::{ApiError, Call, Reply};

pub(crate) const SHOW: Operation = Operation::new(
    "limits",
    Tag::Gateway,
    "Show the rate limits in force, and the state of one key",
    "Limits in force",
);

pub(crate) const RESET: Operation =
    Operation::new("resetLimits", Tag::Gateway, "Reset the rate limits of one key", "Limits were reset");

/// The action that the audit log records for a reset.
pub const LIMITS_RESET: &str = "limits.reset";

/// Whose state to show; at most one of the three.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LimitsQuery {
    /// A client's IP address.
    address: Option<Parsed<IpAddr>>,
    /// A user.
    user_id: Option<Parsed<UserId>>,
    /// An API key.
    api_key_id: Option<Parsed<SessionId>>,
}

/// Whose limits to reset; exactly one of the three.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResetQuery {
    /// A client's IP address.
    address: Option<Parsed<IpAddr>>,
    /// A user.
    user_id: Option<Parsed<UserId>>,
    /// An API key.
    api_key_id: Option<Parsed<SessionId>>,
    /// Only limits of this name.
    name: Option<String>,
}

/// The rate limits in force, and the state of the key that was asked for.
#[derive(Serialize, JsonSchema)]
pub struct RateLimits {
    limits: Vec<RateLimit>,
    /// The key that was asked for.
    #[serde(rename = "whom")]
    key: Option<String>,
    /// The limits of which the key has used any requests.
    #[serde(rename = "standings")]
    states: Option<Vec<RateLimitState>>,
}

/// One rate limit.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Limit")]
struct RateLimit {
    name: String,
    /// The route it belongs to; null for one that holds everywhere.
    route: Option<String>,
    /// Requests and seconds.
    rate: String,
    /// What is counted.
    by: String,
    /// By role, the factor on the number of requests.
    multipliers: BTreeMap<String, u64>,
}

/// The state of a key under one rate limit.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RateLimitState {
    name: String,
    route: Option<String>,
    rate: String,
    /// Requests left at this moment.
    remaining: u32,
    /// Seconds until all requests are available again.
    reset_seconds: f64,
}

/// What a reset did.
#[derive(Serialize, JsonSchema)]
pub struct RateLimitsReset {
    /// How many limits were reset.
    pub limits: usize,
    /// Whether the reset holds on every replica; false while Redis is unreachable.
    pub everywhere: bool,
}

impl From<RateLimitReset> for RateLimitsReset {
    fn from(reset: RateLimitReset) -> Self {
        Self { limits: reset.limits, everywhere: reset.on_every_replica }
    }
}

impl RateLimits {
    /// Reads the limits in force from the gate, and the state of `key`.
    pub async fn read(gate: &Gate, key: Option<RateLimitKey>) -> Self {
        let config = gate.config();
        let limits = config.limits().iter().map(|(route, limit)| RateLimit::new(route.as_deref(), limit)).collect();
        let states = match key {
            None => None,
            Some(key) => Some(gate.rate_limit_usage(key).await.iter().map(RateLimitState::from).collect()),
        };
        Self { limits, key: key.map(RateLimitKey::describe), states }
    }
}

impl RateLimit {
    fn new(route: Option<&str>, limit: &Limit) -> Self {
        Self {
            name: limit.name.to_string(),
            route: route.map(str::to_owned),
            rate: limit.rate.to_string(),
            by: limit.by.to_string(),
            multipliers: limit.multipliers.iter().map(|(role, times)| (role.to_string(), times.into())).collect(),
        }
    }
}

impl From<&RateLimitUsage> for RateLimitState {
    fn from(state: &RateLimitUsage) -> Self {
        Self {
            name: state.limit.name.to_string(),
            route: state.route.as_deref().map(str::to_owned),
            rate: state.limit.rate.to_string(),
            remaining: state.remaining,
            reset_seconds: state.reset.as_secs_f64(),
        }
    }
}

impl Example for RateLimits {
    fn example() -> Value {
        json!({
            "limits": [{ "name": "auth", "route": null, "rate": "60/60s", "by": "address", "multipliers": {} }],
            "whom": null,
            "standings": null,
        })
    }
}

impl Example for RateLimitsReset {
    fn example() -> Value {
        example_of(&Self { limits: 2, everywhere: true })
    }
}

/// `GET /api/v1/gateway/limits`
pub(crate) async fn show(call: Call, Query(query): Query<LimitsQuery>) -> Result<Reply<RateLimits>, ApiError> {
    let key = key(query.address, query.user_id, query.api_key_id)?;
    Ok(SHOW.reply(&RateLimits::read(&call.services.gate, key).await).private())
}

/// `DELETE /api/v1/gateway/limits`
pub(crate) async fn reset(call: Call, Query(query): Query<ResetQuery>) -> Result<Reply<RateLimitsReset>, ApiError> {
    let ResetQuery { address, user_id, api_key_id, name } = query;
    let key = key(address, user_id, api_key_id)?
        .ok_or_else(|| ApiError::invalid_query(vec!["specify address, userId or apiKeyId".to_owned()]))?;
    let details = json!({ "whom": key.describe(), "name": name });
    let (administration, actor) = (&call.services.identity.administration, call.actor());
    administration.record_operation(LIMITS_RESET, &actor, details, &call.caller()).await?;
    let reset = call.services.gate.reset_rate_limits(key, name.as_deref()).await;
    Ok(RESET.reply(&RateLimitsReset::from(reset)).private())
}

/// The one key that a query names.
fn key(
    address: Option<Parsed<IpAddr>>,
    user: Option<Parsed<UserId>>,
    api_key: Option<Parsed<SessionId>>,
) -> Result<Option<RateLimitKey>, ApiError> {
    let keys = [
        address.map(|address| RateLimitKey::address(address.0)),
        user.map(|user| RateLimitKey::User(user.0)),
        api_key.map(|key| RateLimitKey::ApiKey(key.0)),
    ];
    let mut named = keys.into_iter().flatten();
    match (named.next(), named.next()) {
        (key, None) => Ok(key),
        _ => Err(ApiError::invalid_query(vec!["specify only one of address, userId and apiKeyId".to_owned()])),
    }
}

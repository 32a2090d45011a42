//! What every answer gets on its way out, whoever gave it: refusals, built-in
//! endpoints and upstreams alike.

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, LINK, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::context::Context;
use crate::cors;
use crate::gate::Gate;
use crate::limits::{self, Standing};
use crate::versions::Version;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const API_VERSION: HeaderName = HeaderName::from_static("x-api-version");
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

impl Gate {
    /// Adds our headers to an answer and counts it.
    pub fn finish<B>(&self, context: Context, response: &mut Response<B>) {
        if context.preflight {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        let status = response.status().as_u16();
        let headers = response.headers_mut();
        let id = HeaderValue::from_str(context.request_id.as_str()).expect("hexadecimal digits are a header value");
        headers.insert(REQUEST_ID, id);
        if context.ambiguous {
            // What follows on this connection may be the rest of a body.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if context.careful {
            context.config.headers.add(headers);
        }
        if context.vary_origin {
            cors::vary(headers);
        }
        if let Some(origin) = &context.allowed_origin {
            cors::add_headers(headers, origin);
            if context.preflight {
                cors::add_preflight_headers(headers);
            }
        }
        if let Some(version) = context.version {
            add_version(headers, context.config.versions.get(version));
        }
        if let Some(standing) = &context.standing {
            add_limit(headers, standing, context.judged_at);
        }
        if let Some(flight) = context.flight {
            flight.finish(status);
        }
    }
}

/// `X-API-Version`; `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and the successor for a version that is going.
fn add_version(headers: &mut HeaderMap, version: &Version) {
    // The commonest one costs nothing to make.
    let name =
        if version.name == "v1" { Ok(HeaderValue::from_static("v1")) } else { HeaderValue::from_str(&version.name) };
    headers.insert(API_VERSION, name.expect("a version's name is a v and digits"));
    if let Some(at) = version.deprecated_at {
        let value = format!("@{}", at.timestamp());
        headers.insert(DEPRECATION, HeaderValue::from_str(&value).expect("an @ and digits"));
        if let Some(successor) = &version.successor {
            let link = format!("</api/{successor}>; rel=\"successor-version\"");
            headers.append(LINK, HeaderValue::from_str(&link).expect("a version's name is a v and digits"));
        }
    }
    if let Some(at) = version.sunset_at {
        let date = at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        headers.insert(SUNSET, HeaderValue::from_str(&date).expect("an HTTP date is ASCII"));
    }
}

/// The `RateLimit` fields (draft-ietf-httpapi-ratelimit-headers) and the trio
/// that older clients read: limit, requests left, and the Unix second at which
/// the whole limit is free again.
fn add_limit(headers: &mut HeaderMap, standing: &Standing, at: i64) {
    let Standing { counted, rate, remaining, reset, retry } = standing;
    let reset = whole_seconds(*reset);
    // For those without a multiplier it costs nothing to make.
    let policy =
        if *rate == counted.limit.rate { counted.policy.clone() } else { limits::policy(&counted.limit.name, *rate) };
    headers.insert(RATE_LIMIT_POLICY, policy);
    headers.insert(RATE_LIMIT, standing.header(reset));
    headers.insert(X_LIMIT, HeaderValue::from(rate.limit));
    headers.insert(X_REMAINING, HeaderValue::from(*remaining));
    headers.insert(X_RESET, HeaderValue::from(at.saturating_add_unsigned(reset)));
    if let Some(retry) = retry {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(*retry).max(1)));
    }
}

/// Rounded up: a client that waits as long as it was told is not refused again.
fn whole_seconds(duration: std::time::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

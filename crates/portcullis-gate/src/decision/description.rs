//! What the phases find, in words for `explain`. No credential is repeated (SR-46).

use http::Method;
use http::header::{HeaderMap, ORIGIN};
use portcullis_model::policy::{AuthRequirement, RoutePolicy};
use portcullis_model::{ApiKeyScopes, Permission};

use crate::credential::{Credential, CredentialKind, Principal};
use crate::limits::state::{RateLimitOutcome, RateLimitState};
use crate::routes::route::Route;

pub(crate) fn describe_route(route: &Route) -> String {
    format!("{} leads to {}", route.template, route.destination)
}

pub(crate) fn describe_origin(headers: &HeaderMap, is_allowed: bool) -> String {
    match (headers.contains_key(ORIGIN), is_allowed) {
        (false, _) => "no Origin".to_owned(),
        (true, true) => "pages of this origin may read the response".to_owned(),
        (true, false) => "pages of this origin may not read the response".to_owned(),
    }
}

pub(crate) fn describe_outcome(outcome: &RateLimitOutcome) -> String {
    match outcome {
        RateLimitOutcome::Counted(RateLimitState { rule, rate, remaining, retry, .. }) => {
            let rule = format!("{}, {rate} by {}", rule.limit.name, rule.limit.by);
            match retry {
                None => format!("{rule}: {remaining} left after this one"),
                Some(retry) => format!("{rule}: none left for {} ms", retry.as_millis()),
            }
        }
        RateLimitOutcome::Uncounted => {
            "the replicas cannot count together, and this limit then lets every request pass".to_owned()
        }
        RateLimitOutcome::Unavailable(rule) => {
            format!("{}: the replicas cannot count together, and this limit then lets no request pass", rule.limit.name)
        }
    }
}

/// Describes whose credential it is.
pub(crate) fn describe_credential(credential: &Credential) -> String {
    match credential {
        Credential::None => "no credential".to_owned(),
        Credential::Ambiguous => "two kinds of credential".to_owned(),
        Credential::Invalid => "an invalid credential".to_owned(),
        Credential::Unconfirmed => "an API key whose owner has not confirmed the e-mail address".to_owned(),
        Credential::Undecided => {
            "a credential that cannot be checked now, because the database cannot be reached".to_owned()
        }
        Credential::Valid(Principal { session, kind, .. }) => {
            let kind = match kind {
                CredentialKind::Bearer => "a bearer token",
                CredentialKind::Cookie => "the session cookie",
                CredentialKind::ApiKey => "an API key",
            };
            let reach = match &session.api_key {
                Some(ApiKeyScopes::Only(_)) => ", held to its scopes".to_owned(),
                Some(ApiKeyScopes::All) | None => {
                    session.role_in_force().map_or_else(String::new, |role| format!(", {role}"))
                }
            };
            format!("{kind} of user {}{reach}", session.user_id)
        }
    }
}

/// Describes what a route requires of a request.
pub(crate) fn describe_policy(policy: &RoutePolicy, method: &Method) -> String {
    let mut requirements = vec![match policy.auth {
        AuthRequirement::None => "no credential is checked".to_owned(),
        AuthRequirement::Optional => "a credential that is sent must be valid".to_owned(),
        AuthRequirement::Required => "a valid credential is needed".to_owned(),
    }];
    if policy.signed_in_only {
        requirements.push("not an API key".to_owned());
    }
    if let Some(most) = policy.max_session_age {
        requirements.push(format!("signed in at most {} s ago", most.as_secs()));
    }
    if !policy.networks.is_empty() {
        let networks: Vec<String> = policy.networks.iter().map(ToString::to_string).collect();
        requirements.push(format!("from {}", networks.join(", ")));
    }
    requirements.extend(policy.minimum_role.map(|role| format!("at least {role}")));
    let mut permissions: Vec<&str> = policy.permissions.required(method.as_str()).map(Permission::as_str).collect();
    permissions.sort_unstable();
    permissions.dedup();
    if !permissions.is_empty() {
        requirements.push(permissions.join(", "));
    }
    if policy.verified_email {
        requirements.push("a confirmed e-mail address".to_owned());
    }
    if policy.needs_database {
        requirements.push("the database".to_owned());
    }
    requirements.join("; ")
}

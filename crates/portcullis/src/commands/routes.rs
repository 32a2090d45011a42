//! `portcullis routes`: lists every route with its upstream and its requirements.

use std::collections::BTreeSet;

use portcullis_gate::{Destination, RouteSpec};
use portcullis_model::policy::{BodyLimit, CorsPolicy, CsrfPolicy, Methods, STANDARD_METHODS};
use portcullis_model::{AuthRequirement, Limit, LimitBy, Permission};
use portcullis_settings::Settings;
use serde_json::{Value, json};

use super::Format;
use super::output::{Failure, print, print_json, print_notice};
use super::table;

pub(super) fn run(settings: &Settings, format: Format) -> Result<(), Failure> {
    let mut routes = portcullis_api::route_specs();
    routes.extend(settings.route_specs());
    // The sort is stable, so the methods of one path keep their order.
    routes.sort_by(|a, b| a.template.cmp(&b.template));
    if format.json {
        let routes: Vec<_> = routes.iter().map(document).collect();
        print_json(&json!({ "routes": routes, "warnings": settings.warnings }));
    } else {
        for warning in &settings.warnings {
            print_notice("warning", warning);
        }
        let header = ["METHODS", "PATH", "AUTH", "ROLE", "PERMISSIONS", "CSRF", "LIMIT", "TO"];
        print(&table::render(&header, &routes.iter().map(row).collect::<Vec<_>>()));
    }
    Ok(())
}

fn row(route: &RouteSpec) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let policy = &route.policy;
    vec![
        match &route.methods {
            // The standard methods; a column with all seven would push the others away.
            Methods::Standard => "*".to_owned(),
            Methods::Only(names) => names.join(","),
        },
        route.template.clone(),
        auth(policy.auth).to_owned(),
        or_dash(policy.minimum_role.map(|role| role.to_string())),
        or_dash(permissions_text(route)),
        csrf(policy.csrf).to_owned(),
        or_dash(limits_text(&policy.limits)),
        match &route.destination {
            Destination::BuiltIn(_) => "built-in".to_owned(),
            Destination::Upstream(forwarding) => forwarding.upstream.to_string(),
        },
    ]
}

fn document(route: &RouteSpec) -> Value {
    let policy = &route.policy;
    let forwarding = match &route.destination {
        Destination::BuiltIn(_) => None,
        Destination::Upstream(forwarding) => Some(forwarding),
    };
    json!({
        "path": route.template,
        "methods": methods(&route.methods),
        "auth": auth(policy.auth),
        "role": policy.minimum_role,
        "permissions": policy.permissions.always,
        "methodPermissions": policy.permissions.by_method,
        "otherMethodPermissions": other_methods(route),
        "csrf": csrf(policy.csrf),
        "rateLimit": limits_text(&policy.limits),
        "limits": policy.limits.iter().map(limit).collect::<Vec<_>>(),
        "apiKeys": !policy.signed_in_only,
        "verifiedEmail": policy.verified_email,
        "maxSessionAgeSeconds": policy.max_session_age.map(|most| most.as_secs()),
        "networks": policy.networks,
        "needsDatabase": policy.needs_database,
        "allowedOrigins": policy.allowed_origins,
        "cors": cors(&policy.cors),
        "timeoutSeconds": policy.timeout.as_secs(),
        "bodyIdleTimeoutSeconds": policy.body_idle_timeout.map(|most| most.as_secs()),
        "streamIdleTimeoutSeconds": policy.stream_idle_timeout.map(|most| most.as_secs()),
        "maxBodyBytes": match policy.max_body {
            BodyLimit::Bytes(bytes) => Some(bytes),
            BodyLimit::Unlimited => None,
        },
        "builtIn": forwarding.is_none(),
        "upstream": forwarding.map(|to| &*to.upstream),
        "stripPrefix": forwarding.and_then(|to| to.strip_prefix.as_deref()),
        "methodOverride": forwarding.is_some_and(|to| to.method_override),
    })
}

fn methods(methods: &Methods) -> Vec<String> {
    match methods {
        Methods::Standard => STANDARD_METHODS.map(str::to_owned).into(),
        Methods::Only(names) => names.clone(),
    }
}

fn auth(auth: AuthRequirement) -> &'static str {
    match auth {
        AuthRequirement::None => "none",
        AuthRequirement::Optional => "optional",
        AuthRequirement::Required => "required",
    }
}

fn cors(policy: &CorsPolicy) -> Value {
    match policy {
        CorsPolicy::Gateway { request_headers, expose_headers } => {
            json!({ "answeredBy": "gateway", "requestHeaders": request_headers, "exposeHeaders": expose_headers })
        }
        CorsPolicy::Upstream => json!({ "answeredBy": "upstream" }),
    }
}

fn csrf(policy: CsrfPolicy) -> &'static str {
    match policy {
        CsrfPolicy::Checked => "checked",
        CsrfPolicy::ExemptUnlessCookie => "by cookie",
        CsrfPolicy::ExemptWithOriginCheck => "origin",
        CsrfPolicy::Exempt => "exempt",
    }
}

fn limits_text(limits: &[Limit]) -> Option<String> {
    let text = |limit: &Limit| match limit.by {
        LimitBy::Caller => limit.rate.to_string(),
        _ => format!("{} by {}", limit.rate, limit.by),
    };
    (!limits.is_empty()).then(|| limits.iter().map(text).collect::<Vec<_>>().join(", "))
}

fn limit(limit: &Limit) -> Value {
    json!({
        "name": limit.name,
        "rate": limit.rate.to_string(),
        "by": limit.by.to_string(),
        "multipliers": limit.multipliers.iter().map(|(role, times)| (role.to_string(), times.into())).collect::<serde_json::Map<_, _>>(),
    })
}

fn permissions_text(route: &RouteSpec) -> Option<String> {
    let permissions = &route.policy.permissions;
    let names = |list: &[Permission]| list.iter().map(Permission::as_str).collect::<Vec<_>>().join("+");
    let mut parts = Vec::new();
    if !permissions.always.is_empty() {
        parts.push(names(&permissions.always));
    }
    parts.extend(permissions.by_method.iter().map(|(method, list)| format!("{method}:{}", names(list))));
    let others: Vec<&str> = other_methods(route).iter().map(|permission| permission.as_str()).collect();
    if !others.is_empty() {
        parts.push(format!("others:{}", others.join("+")));
    }
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// The permissions that the unsafe methods without an entry of their own need, on a route that accepts such methods.
fn other_methods(route: &RouteSpec) -> BTreeSet<&Permission> {
    let by_method = &route.policy.permissions.by_method;
    let is_other =
        |name: &String| !matches!(name.as_str(), "GET" | "HEAD" | "OPTIONS") && !by_method.contains_key(name.as_str());
    match methods(&route.methods).iter().find(|name| is_other(name)) {
        Some(name) => route.policy.permissions.required(name).filter(|_| !by_method.is_empty()).collect(),
        None => BTreeSet::new(),
    }
}

//! `portcullis routes`: lists every route with its upstream and its requirements.

use portcullis_gate::{Destination, RouteSpec};
use portcullis_model::policy::{BodyLimit, CsrfPolicy, MethodPermissions, Methods};
use portcullis_model::{AuthRequirement, Limit, LimitBy, Permission};
use portcullis_settings::Settings;
use serde_json::{Value, json};

use super::Format;
use super::output::{Failure, print, print_json};
use super::table;

pub(super) fn run(settings: &Settings, format: Format) -> Result<(), Failure> {
    let mut routes = portcullis_api::route_specs();
    routes.extend(settings.route_specs());
    // The sort is stable, so the methods of one path keep their order.
    routes.sort_by(|a, b| a.template.cmp(&b.template));
    if format.json {
        print_json(&json!({ "routes": routes.iter().map(document).collect::<Vec<_>>() }));
    } else {
        let header = ["METHODS", "PATH", "AUTH", "ROLE", "PERMISSIONS", "CSRF", "LIMIT", "TO"];
        print(&table::render(&header, &routes.iter().map(row).collect::<Vec<_>>()));
    }
    Ok(())
}

fn row(route: &RouteSpec) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let policy = &route.policy;
    vec![
        methods(&route.methods).join(","),
        route.template.clone(),
        auth(policy.auth).to_owned(),
        or_dash(policy.minimum_role.map(|role| role.to_string())),
        or_dash(permissions_text(&policy.permissions)),
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
    let (upstream, strip_prefix) = match &route.destination {
        Destination::BuiltIn(_) => (None, None),
        Destination::Upstream(forwarding) => (Some(&*forwarding.upstream), forwarding.strip_prefix.as_deref()),
    };
    json!({
        "path": route.template,
        "methods": methods(&route.methods),
        "auth": auth(policy.auth),
        "role": policy.minimum_role,
        "permissions": policy.permissions.always,
        "methodPermissions": policy.permissions.by_method,
        "csrf": csrf(policy.csrf),
        "rateLimit": limits_text(&policy.limits),
        "limits": policy.limits.iter().map(limit).collect::<Vec<_>>(),
        "apiKeys": !policy.signed_in_only,
        "verifiedEmail": policy.verified_email,
        "maxSessionAgeSeconds": policy.max_session_age.map(|most| most.as_secs()),
        "networks": policy.networks,
        "needsDatabase": policy.needs_database,
        "allowedOrigins": policy.allowed_origins,
        "timeoutSeconds": policy.timeout.as_secs(),
        "bodyIdleTimeoutSeconds": policy.body_idle_timeout.map(|most| most.as_secs()),
        "streamIdleTimeoutSeconds": policy.stream_idle_timeout.map(|most| most.as_secs()),
        "maxBodyBytes": match policy.max_body {
            BodyLimit::Bytes(bytes) => Some(bytes),
            BodyLimit::Unlimited => None,
        },
        "builtIn": upstream.is_none(),
        "upstream": upstream,
        "stripPrefix": strip_prefix,
    })
}

fn methods(methods: &Methods) -> Vec<String> {
    match methods {
        Methods::Any => vec!["*".to_owned()],
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

fn permissions_text(permissions: &MethodPermissions) -> Option<String> {
    let names = |list: &[Permission]| list.iter().map(Permission::as_str).collect::<Vec<_>>().join("+");
    let mut parts = Vec::new();
    if !permissions.always.is_empty() {
        parts.push(names(&permissions.always));
    }
    parts.extend(permissions.by_method.iter().map(|(method, list)| format!("{method}:{}", names(list))));
    (!parts.is_empty()).then(|| parts.join(" "))
}

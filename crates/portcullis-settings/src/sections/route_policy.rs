//! The requirements of a route: methods, credential, role, permissions, CSRF, limits.

use std::collections::BTreeMap;

use portcullis_model::policy::{MethodPermissions, Methods, RoutePolicy, STANDARD_METHODS};
use portcullis_model::size::parse_size;
use portcullis_model::{AuthRequirement, BodyLimit, CsrfPolicy, InvalidInput, Permission, Role};

use crate::engine::key::{DefaultValue, Key};
use crate::engine::notice::Notice;
use crate::engine::reader::{Reader, unknown_hint};
use crate::engine::tree::{Node, Value};
use crate::engine::values::{duration_or_off, network, one_of, positive_duration};
use crate::sections::{cors, limits, route_cors, route_path};

pub(crate) static METHODS: Key = Key::live(
    "methods",
    DefaultValue::Described("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    "list of methods",
    "The methods that the route accepts, in capitals; `GET` includes `HEAD`. `TRACE` and `CONNECT` are never accepted.",
);
pub(crate) static AUTH: Key = Key::live(
    "auth",
    DefaultValue::Text("required"),
    "`none`, `optional` or `required`",
    "Whether a credential is needed: `none` never; `optional` no, but one that is sent must be valid; `required` always.",
);
pub(crate) static ROLES: Key = Key::live(
    "roles",
    DefaultValue::Described("any"),
    "list of roles",
    "The principal must have one of these roles, or a higher one.",
);
pub(crate) static PERMISSIONS: Key = Key::live(
    "permissions",
    DefaultValue::Described("none"),
    "list of permissions, or `{ METHOD = […] }`",
    "The principal must hold all of these; in a table, those of the method of the request. `HEAD` counts as `GET`. An unsafe method without an entry needs the permissions of all entries; `GET` and `OPTIONS` without one need none.",
);
pub(crate) static CSRF: Key = Key::live(
    "csrf",
    DefaultValue::Text("true"),
    "true or false",
    "Whether unsafe methods need a CSRF token. The default under `/api/v1/webhooks/` is `false`.",
);
pub(crate) static RATE_LIMIT: Key = Key::live(
    "rate_limit",
    DefaultValue::Described("off"),
    "requests/duration, a table, or a list of them",
    "Limits of the route, counted per principal when it is known, else per address, unless `by` says otherwise.",
);
pub(crate) static API_KEYS: Key = Key::live(
    "api_keys",
    DefaultValue::Text("true"),
    "true or false",
    "Whether API keys are accepted; `false` accepts signed-in users only.",
);
pub(crate) static VERIFIED_EMAIL: Key = Key::live(
    "verified_email",
    DefaultValue::Text("false"),
    "true or false",
    "Whether the user must have confirmed the e-mail address.",
);
pub(crate) static MAX_SESSION_AGE: Key = Key::live(
    "max_session_age",
    DefaultValue::Described("any"),
    "duration",
    "How long ago the user may have signed in; then 401 `Recent sign-in required` (RFC 9470).",
);
pub(crate) static NETWORKS: Key = Key::live(
    "networks",
    DefaultValue::Described("all"),
    "list of addresses or networks",
    "The addresses from which clients may send requests.",
);
pub(crate) static NEEDS_DATABASE: Key = Key::live(
    "needs_database",
    DefaultValue::Text("false"),
    "true or false",
    "Whether requests are refused (503) while the database cannot be reached, instead of being served with known sessions.",
);
pub(crate) static ALLOWED_ORIGINS: Key = Key::live(
    "allowed_origins",
    DefaultValue::Described("`cors.allowed_origins`"),
    "list of origins",
    "The origins whose pages may read responses, in place of those of `[cors]`; `[]` for none.",
);
pub(crate) static TIMEOUT: Key = Key::live(
    "timeout",
    DefaultValue::Text("30s"),
    "duration",
    "How long the gateway waits for the upstream to take the next bytes of a request, and to begin its response once it has all of them; then 504. The time in which the client sends does not count.",
);
pub(crate) static BODY_IDLE_TIMEOUT: Key = Key::live(
    "body_idle_timeout",
    DefaultValue::Text("60s"),
    "duration or `off`",
    "How long the upstream may pause within the body of a response; then the response is cut off. The time in which the client does not read does not count.",
);
pub(crate) static STREAM_IDLE_TIMEOUT: Key = Key::live(
    "stream_idle_timeout",
    DefaultValue::Text("off"),
    "duration or `off`",
    "In place of `body_idle_timeout` for `text/event-stream`, `application/grpc` and WebSockets.",
);
pub(crate) static MAX_BODY: Key = Key::live(
    "max_body",
    DefaultValue::Described("`server.max_body`"),
    "bytes, or with KB, MB, GB; 0 is no limit",
    "The largest body of a request.",
);

pub(crate) static SECURITY_HEADERS: Key = Key::live(
    "security_headers",
    DefaultValue::Text("true"),
    "true or false",
    "Whether responses get the headers of `[headers]`.",
);

/// Reads the methods that a route accepts.
pub(crate) fn methods(section: &mut Reader<'_, '_>) -> Methods {
    if section.node(&METHODS).is_none() {
        return Methods::Standard;
    }
    let mut names = section.list(&METHODS, parse_method);
    names.sort();
    names.dedup();
    if matches!(section.node(&METHODS).map(|node| &node.value), Some(Value::List(items)) if items.is_empty()) {
        section.reject(&METHODS, "names no method", "remove it to accept the standard methods");
    }
    Methods::Only(names)
}

/// Reads the requirements of a route; `path` is `None` when it was refused.
pub(crate) fn read(
    section: &mut Reader<'_, '_>,
    path: Option<&str>,
    methods: &Methods,
    max_body: BodyLimit,
    limit_defaults: &limits::LimitDefaults,
) -> RoutePolicy {
    let auth = section.value(&AUTH, |text| {
        one_of(
            text,
            &[
                ("none", AuthRequirement::None),
                ("optional", AuthRequirement::Optional),
                ("required", AuthRequirement::Required),
            ],
        )
    });
    let roles = section.list(&ROLES, |text| {
        text.parse::<Role>().map_err(|_| InvalidInput(unknown_hint(text, Role::ALL.into_iter().map(Role::as_str))))
    });
    let permissions = permissions(section, methods);
    let requires = |key: &Key| match section.node(key).map(|node| &node.value) {
        None | Some(Value::Boolean(false)) => false,
        Some(_) => true,
    };
    let required = [&ROLES, &PERMISSIONS, &VERIFIED_EMAIL, &MAX_SESSION_AGE].into_iter().filter(|key| requires(key));
    for key in required.collect::<Vec<_>>() {
        if auth != AuthRequirement::Required {
            let hint = "write auth = \"required\", or remove auth";
            section.reject(key, "requires something that a request without a credential cannot have", hint);
        }
    }
    let is_webhook = path.is_some_and(route_path::is_webhook);
    let csrf = match section.node(&CSRF) {
        None if is_webhook => CsrfPolicy::Exempt,
        _ if section.flag(&CSRF) => CsrfPolicy::Checked,
        _ => CsrfPolicy::Exempt,
    };
    let own_limit = section.optional(&MAX_BODY, |text| parse_size(text).map(BodyLimit::from_setting));
    let origins = section.node(&ALLOWED_ORIGINS).is_some();
    RoutePolicy {
        signed_in_only: !section.flag(&API_KEYS),
        minimum_role: roles.into_iter().min(),
        permissions,
        verified_email: section.flag(&VERIFIED_EMAIL),
        max_session_age: section.optional(&MAX_SESSION_AGE, positive_duration),
        networks: section.list(&NETWORKS, network),
        needs_database: section.flag(&NEEDS_DATABASE),
        csrf,
        limits: limits::of_route(section, &RATE_LIMIT, limit_defaults),
        allowed_origins: origins.then(|| section.list(&ALLOWED_ORIGINS, cors::parse_origin)),
        cors: route_cors::read(section),
        security_headers: section.flag(&SECURITY_HEADERS),
        max_body: own_limit.unwrap_or(max_body),
        timeout: section.value(&TIMEOUT, positive_duration),
        body_idle_timeout: section.value(&BODY_IDLE_TIMEOUT, duration_or_off),
        stream_idle_timeout: section.value(&STREAM_IDLE_TIMEOUT, duration_or_off),
        ..RoutePolicy::requiring(auth)
    }
}

fn permissions(section: &mut Reader<'_, '_>, methods: &Methods) -> MethodPermissions {
    let Some(node) = section.node(&PERMISSIONS).map(Node::structured) else { return MethodPermissions::default() };
    let Value::Table(table) = &node.value else {
        let always = section.items(&PERMISSIONS, &node, Permission::parse);
        return MethodPermissions { always, by_method: BTreeMap::new() };
    };
    let mut by_method = BTreeMap::new();
    for (method, node) in table {
        match parse_method(method) {
            Err(reason) => {
                let message = format!("{} names the method `{method}`", section.path(&PERMISSIONS));
                section.problems.add(Notice::new(&node.place, message).hint(reason.to_string()));
            }
            Ok(name) => {
                if !accepts(methods, &name) {
                    let message = format!("the route does not accept {name}, but requires permissions for it");
                    section
                        .problems
                        .add(Notice::new(&node.place, message).hint("add it to methods, or remove it here"));
                }
                by_method.insert(name, section.items(&PERMISSIONS, node, Permission::parse));
            }
        }
    }
    MethodPermissions { always: Vec::new(), by_method }
}

fn accepts(methods: &Methods, name: &str) -> bool {
    match methods {
        Methods::Standard => true,
        Methods::Only(names) => names.iter().any(|known| known == name || (name == "HEAD" && known == "GET")),
    }
}

/// Parses the name of a method. `CONNECT` and `TRACE` are refused: one opens a tunnel to anywhere, the other echoes
/// credentials.
fn parse_method(text: &str) -> Result<String, InvalidInput> {
    match text {
        "CONNECT" | "TRACE" => Err(InvalidInput(format!("{text} is never forwarded to an upstream"))),
        _ if STANDARD_METHODS.contains(&text) => Ok(text.to_owned()),
        _ if STANDARD_METHODS.contains(&text.to_ascii_uppercase().as_str()) => {
            Err(InvalidInput(format!("did you mean `{}`?", text.to_ascii_uppercase())))
        }
        // RFC 9110 §9.1: more methods exist, and they are upper-case by custom.
        _ if (3..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => {
            match portcullis_model::input::did_you_mean(text, STANDARD_METHODS) {
                Some(near) => Err(InvalidInput(format!("did you mean `{near}`?"))),
                None => Ok(text.to_owned()),
            }
        }
        _ => Err(InvalidInput(unknown_hint(text, STANDARD_METHODS.into_iter()))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{refused, settings};

    fn file(lines: &str) -> String {
        route("/api/v1/p", lines)
    }

    fn route(path: &str, lines: &str) -> String {
        format!(
            "[upstreams.p]\ntargets = [\"http://127.0.0.1:1\"]\n[[routes]]\nupstream = \"p\"\npath = \"{path}\"\n{lines}\n"
        )
    }

    fn policy(file: &str) -> RoutePolicy {
        settings(file, &[]).routes[0].policy.clone()
    }

    #[test]
    fn a_route_requires_a_credential_by_default() {
        let policy = policy(&file(""));
        assert_eq!((policy.auth, policy.csrf), (AuthRequirement::Required, CsrfPolicy::Checked));
        assert_eq!((policy.timeout, policy.max_body), (Duration::from_secs(30), BodyLimit::Bytes(100 << 20)));
        assert_eq!(settings(&file(""), &[]).routes[0].methods, Methods::Standard);
    }

    #[test]
    fn pauses_of_an_upstream_have_a_limit_or_none() {
        let limits = |lines: &str| {
            let policy = policy(&file(lines));
            (policy.body_idle_timeout, policy.stream_idle_timeout)
        };
        assert_eq!(limits(""), (Some(Duration::from_secs(60)), None));
        let set = limits("body_idle_timeout = \"off\"\nstream_idle_timeout = \"5m\"");
        assert_eq!(set, (None, Some(Duration::from_secs(300))));
        let message = refused(&file("body_idle_timeout = \"0s\""), &[]);
        assert!(message.contains("hint: write at least 1s; or write off"), "{message}");
        let message = refused(&file("stream_idle_timeout = \"never\""), &[]);
        assert!(message.contains("; or write off"), "{message}");
    }

    #[test]
    fn several_roles_mean_the_lowest_one() {
        assert_eq!(policy(&file("roles = [\"ADMIN\", \"TESTER\"]")).minimum_role, Some(Role::Tester));
    }

    #[test]
    fn the_body_limit_of_the_server_is_the_default() {
        let with_server = |lines: &str| policy(&format!("[server]\nmax_body = \"1KB\"\n{}", file(lines))).max_body;
        assert_eq!(with_server(""), BodyLimit::Bytes(1024));
        assert_eq!(with_server("max_body = 0"), BodyLimit::Unlimited);
        assert_eq!(with_server("max_body = \"2KB\""), BodyLimit::Bytes(2048));
    }

    #[test]
    fn webhooks_need_no_csrf_token_by_default() {
        let csrf = |lines: &str| policy(&route("/api/v1/webhooks/{*rest}", lines)).csrf;
        assert_eq!((csrf(""), csrf("csrf = true")), (CsrfPolicy::Exempt, CsrfPolicy::Checked));
        assert_eq!(policy(&file("csrf = false")).csrf, CsrfPolicy::Exempt);
    }

    #[test]
    fn permissions_apply_to_all_methods_or_to_named_ones() {
        let permissions = policy(&file("permissions = [\"USER_VIEW\"]")).permissions;
        assert_eq!((permissions.always.len(), permissions.by_method.len()), (1, 0));
        let permissions = policy(&file("permissions = { PUT = [\"USER_EDIT\"], GET = [\"USER_VIEW\"] }")).permissions;
        assert_eq!((permissions.always.len(), permissions.by_method["PUT"].len()), (0, 1));
        let message =
            refused(&file("methods = [\"GET\"]\npermissions = { PUT = [\"USER_EDIT\"], get = [\"x\"] }"), &[]);
        assert!(
            message.contains("portcullis.toml:7: the route does not accept PUT, but requires permissions for it"),
            "{message}"
        );
        assert!(
            message.contains("routes.permissions names the method `get`\n  hint: did you mean `GET`?"),
            "{message}"
        );
    }

    #[test]
    fn a_requirement_without_a_credential_is_refused() {
        for (auth, ask) in [("none", "roles = [\"VIEWER\"]"), ("optional", "permissions = [\"USER_VIEW\"]")] {
            let message = refused(&file(&format!("auth = \"{auth}\"\n{ask}")), &[]);
            assert!(
                message.starts_with("portcullis.toml:7: routes.") && message.contains("write auth = \"required\""),
                "{message}"
            );
        }
        assert!(refused(&file("auth = \"sometimes\""), &[]).contains("write none, optional or required"));
    }

    #[test]
    fn methods_are_upper_case_and_can_be_forwarded() {
        let methods = settings(&file("methods = [\"PURGE\", \"GET\", \"GET\"]"), &[]).routes[0].methods.clone();
        assert_eq!(methods, Methods::Only(vec!["GET".to_owned(), "PURGE".to_owned()]));
        for (bad, hint) in [
            ("[\"get\"]", "did you mean `GET`?"),
            ("[\"GTE\"]", "did you mean `GET`?"),
            ("[\"CONNECT\"]", "CONNECT is never forwarded"),
            ("[\"any thing\"]", "write GET, HEAD"),
            ("[]", "remove it to accept the standard methods"),
            ("\"GET\"", "expected: list of methods"),
        ] {
            let message = refused(&file(&format!("methods = {bad}")), &[]);
            assert!(message.contains(hint), "{bad}: {message}");
            assert_eq!(message.matches("hint:").count(), 1, "{message}");
        }
    }
}

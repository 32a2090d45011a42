//! What a route asks of a request: methods, credential, role, permissions, CSRF, limits.

use std::collections::BTreeMap;

use portcullis_model::policy::{MethodPermissions, Methods, RoutePolicy};
use portcullis_model::size::parse_size;
use portcullis_model::{AuthRequirement, BodyLimit, CsrfPolicy, InvalidInput, Permission, Role};

use crate::engine::key::{Key, Preset};
use crate::engine::notice::Notice;
use crate::engine::reader::{Reader, unknown_hint};
use crate::engine::tree::{Node, Value};
use crate::engine::values::{network, one_of, positive_duration};
use crate::sections::{cors, limits, route_path};

pub(crate) static METHODS: Key =
    Key::new("methods", Preset::Otherwise("all"), "list of methods", "The methods it answers; `GET` includes `HEAD`.");
pub(crate) static AUTH: Key = Key::new(
    "auth",
    Preset::Value("required"),
    "`none`, `optional` or `required`",
    "Who may call: anyone; anyone, but a credential that is sent must be good; only who is signed in.",
);
pub(crate) static ROLES: Key = Key::new(
    "roles",
    Preset::Otherwise("any"),
    "list of roles",
    "The caller has at least one of these roles, or a higher one.",
);
pub(crate) static PERMISSIONS: Key = Key::new(
    "permissions",
    Preset::Otherwise("none"),
    "list of permissions, or `{ METHOD = […] }`",
    "The caller holds all of these; as a table, those of the request's method.",
);
pub(crate) static CSRF: Key = Key::new(
    "csrf",
    Preset::Value("true"),
    "true or false",
    "Whether unsafe methods need a CSRF token. Under `/api/v1/webhooks/` they do not unless it says `true`.",
);
pub(crate) static RATE_LIMIT: Key = Key::new(
    "rate_limit",
    Preset::Otherwise("off"),
    "requests/duration, a table, or a list of them",
    "Limits of its own; unless they say otherwise by caller when one is known, else by address.",
);
pub(crate) static API_KEYS: Key = Key::new(
    "api_keys",
    Preset::Value("true"),
    "true or false",
    "Whether API keys may call; `false` asks for somebody who signed in.",
);
pub(crate) static VERIFIED_EMAIL: Key = Key::new(
    "verified_email",
    Preset::Value("false"),
    "true or false",
    "Whether the caller's e-mail address must have been confirmed.",
);
pub(crate) static MAX_SESSION_AGE: Key = Key::new(
    "max_session_age",
    Preset::Otherwise("any"),
    "duration",
    "How long ago the caller may have signed in; then 401 `Recent sign-in required` (RFC 9470).",
);
pub(crate) static NETWORKS: Key =
    Key::new("networks", Preset::Otherwise("all"), "list of addresses or networks", "Where clients may call from.");
pub(crate) static NEEDS_DATABASE: Key = Key::new(
    "needs_database",
    Preset::Value("false"),
    "true or false",
    "Whether it is refused (503) while the database cannot be reached, rather than served with sessions as last known.",
);
pub(crate) static ALLOWED_ORIGINS: Key = Key::new(
    "allowed_origins",
    Preset::Otherwise("`cors.allowed_origins`"),
    "list of origins",
    "The origins whose pages may read answers, in place of those of `[cors]`; `[]` for none.",
);
pub(crate) static TIMEOUT: Key = Key::new(
    "timeout",
    Preset::Value("30s"),
    "duration",
    "How long the upstream may take to begin its answer; then 504.",
);
pub(crate) static MAX_BODY: Key = Key::new(
    "max_body",
    Preset::Otherwise("`server.max_body`"),
    "bytes, or with KB, MB, GB; 0 is no limit",
    "The largest body of a request.",
);

pub(crate) static SECURITY_HEADERS: Key = Key::new(
    "security_headers",
    Preset::Value("true"),
    "true or false",
    "Whether answers get the headers of `[headers]`.",
);

/// Reads the methods that a route answers.
pub(crate) fn methods(section: &mut Reader<'_, '_>) -> Methods {
    if section.node(&METHODS).is_none() {
        return Methods::Any;
    }
    let mut names = section.list(&METHODS, parse_method);
    names.sort();
    names.dedup();
    if matches!(section.node(&METHODS).map(|node| &node.value), Some(Value::List(items)) if items.is_empty()) {
        section.reject(&METHODS, "names no method", "leave it out to answer all methods");
    }
    Methods::Only(names)
}

/// Reads what a route asks of a request; `path` is `None` when it could not be read.
pub(crate) fn read(
    section: &mut Reader<'_, '_>,
    path: Option<&str>,
    methods: &Methods,
    max_body: BodyLimit,
    limit_defaults: &limits::Defaults,
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
    let asks = |key: &Key| match section.node(key).map(|node| &node.value) {
        None | Some(Value::Boolean(false)) => false,
        Some(_) => true,
    };
    let asked = [&ROLES, &PERMISSIONS, &VERIFIED_EMAIL, &MAX_SESSION_AGE].into_iter().filter(|key| asks(key));
    for key in asked.collect::<Vec<_>>() {
        if auth != AuthRequirement::Required {
            let hint = "write auth = \"required\", or leave it out";
            section.reject(key, "asks for something that a caller without a credential cannot have", hint);
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
        security_headers: section.flag(&SECURITY_HEADERS),
        max_body: own_limit.unwrap_or(max_body),
        timeout: section.value(&TIMEOUT, positive_duration),
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
                if !answers(methods, &name) {
                    let message = format!("the route does not answer {name}, for which it asks permissions");
                    section
                        .problems
                        .add(Notice::new(&node.place, message).hint("add it to methods, or leave it out here"));
                }
                by_method.insert(name, section.items(&PERMISSIONS, node, Permission::parse));
            }
        }
    }
    MethodPermissions { always: Vec::new(), by_method }
}

fn answers(methods: &Methods, name: &str) -> bool {
    match methods {
        Methods::Any => true,
        Methods::Only(names) => names.iter().any(|known| known == name || (name == "HEAD" && known == "GET")),
    }
}

/// `CONNECT` asks for a tunnel to anywhere, `TRACE` echoes credentials: neither is carried.
const KNOWN_METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

fn parse_method(text: &str) -> Result<String, InvalidInput> {
    match text {
        "CONNECT" | "TRACE" => Err(InvalidInput(format!("{text} is never carried to an upstream"))),
        _ if KNOWN_METHODS.contains(&text) => Ok(text.to_owned()),
        _ if KNOWN_METHODS.contains(&text.to_ascii_uppercase().as_str()) => {
            Err(InvalidInput(format!("did you mean `{}`?", text.to_ascii_uppercase())))
        }
        // RFC 9110 §9.1: more methods exist, and they are upper-case by custom.
        _ if (3..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => {
            match portcullis_model::input::did_you_mean(text, KNOWN_METHODS) {
                Some(near) => Err(InvalidInput(format!("did you mean `{near}`?"))),
                None => Ok(text.to_owned()),
            }
        }
        _ => Err(InvalidInput(unknown_hint(text, KNOWN_METHODS.into_iter()))),
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
    fn a_route_that_says_nothing_is_closed() {
        let policy = policy(&file(""));
        assert_eq!((policy.auth, policy.csrf), (AuthRequirement::Required, CsrfPolicy::Checked));
        assert_eq!((policy.timeout, policy.max_body), (Duration::from_secs(30), BodyLimit::Bytes(100 << 20)));
        assert_eq!(settings(&file(""), &[]).routes[0].methods, Methods::Any);
    }

    #[test]
    fn several_roles_mean_the_lowest_of_them() {
        assert_eq!(policy(&file("roles = [\"ADMIN\", \"TESTER\"]")).minimum_role, Some(Role::Tester));
    }

    #[test]
    fn the_servers_body_limit_holds_where_the_route_has_none() {
        let with_server = |lines: &str| policy(&format!("[server]\nmax_body = \"1KB\"\n{}", file(lines))).max_body;
        assert_eq!(with_server(""), BodyLimit::Bytes(1024));
        assert_eq!(with_server("max_body = 0"), BodyLimit::Unlimited);
        assert_eq!(with_server("max_body = \"2KB\""), BodyLimit::Bytes(2048));
    }

    #[test]
    fn webhooks_need_no_token_unless_they_ask_for_it() {
        let csrf = |lines: &str| policy(&route("/api/v1/webhooks/{*rest}", lines)).csrf;
        assert_eq!((csrf(""), csrf("csrf = true")), (CsrfPolicy::Exempt, CsrfPolicy::Checked));
        assert_eq!(policy(&file("csrf = false")).csrf, CsrfPolicy::Exempt);
    }

    #[test]
    fn permissions_hold_for_all_methods_or_for_some() {
        let permissions = policy(&file("permissions = [\"USER_VIEW\"]")).permissions;
        assert_eq!((permissions.always.len(), permissions.by_method.len()), (1, 0));
        let permissions = policy(&file("permissions = { PUT = [\"USER_EDIT\"], GET = [\"USER_VIEW\"] }")).permissions;
        assert_eq!((permissions.always.len(), permissions.by_method["PUT"].len()), (0, 1));
        let said = refused(&file("methods = [\"GET\"]\npermissions = { PUT = [\"USER_EDIT\"], get = [\"x\"] }"), &[]);
        assert!(
            said.contains("portcullis.toml:7: the route does not answer PUT, for which it asks permissions"),
            "{said}"
        );
        assert!(said.contains("routes.permissions names the method `get`\n  hint: did you mean `GET`?"), "{said}");
    }

    #[test]
    fn what_a_caller_without_a_credential_cannot_have_is_refused() {
        for (auth, ask) in [("none", "roles = [\"VIEWER\"]"), ("optional", "permissions = [\"USER_VIEW\"]")] {
            let said = refused(&file(&format!("auth = \"{auth}\"\n{ask}")), &[]);
            assert!(
                said.starts_with("portcullis.toml:7: routes.") && said.contains("write auth = \"required\""),
                "{said}"
            );
        }
        assert!(refused(&file("auth = \"sometimes\""), &[]).contains("it is none, optional or required"));
    }

    #[test]
    fn methods_are_upper_case_words_that_can_be_carried() {
        let methods = settings(&file("methods = [\"PURGE\", \"GET\", \"GET\"]"), &[]).routes[0].methods.clone();
        assert_eq!(methods, Methods::Only(vec!["GET".to_owned(), "PURGE".to_owned()]));
        for (bad, hint) in [
            ("[\"get\"]", "did you mean `GET`?"),
            ("[\"GTE\"]", "did you mean `GET`?"),
            ("[\"CONNECT\"]", "CONNECT is never carried"),
            ("[\"any thing\"]", "it is GET, HEAD"),
            ("[]", "leave it out to answer all methods"),
            ("\"GET\"", "it is list of methods"),
        ] {
            let said = refused(&file(&format!("methods = {bad}")), &[]);
            assert!(said.contains(hint), "{bad}: {said}");
            assert_eq!(said.matches("hint:").count(), 1, "{said}");
        }
    }
}

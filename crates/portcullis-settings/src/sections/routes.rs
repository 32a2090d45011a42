//! `[[routes]]`: the requests that go to an upstream, and their requirements.

use std::sync::Arc;

use portcullis_gate::{Destination, RouteSpec};
use portcullis_model::InvalidInput;
use portcullis_model::policy::{BodyLimit, Forwarding, Methods, RoutePolicy};

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::{Reader, unknown_hint};
use crate::engine::tree::{Node, Table, Value};
use crate::sections::upstreams::Upstream;
use crate::sections::{limits, route_cors, route_path, route_policy};

/// A proxied route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The canonical template of its paths: `/api/v1/projects/{*rest}`.
    pub path: String,
    /// The methods that the route accepts.
    pub methods: Methods,
    /// The requirements and limits of a request.
    pub policy: RoutePolicy,
    /// The upstream, and how requests are forwarded.
    pub forwarding: Arc<Forwarding>,
    /// The place in the settings.
    pub place: Place,
}

impl Route {
    /// Returns the route as the route table of the gate takes it.
    pub fn spec(&self) -> RouteSpec {
        RouteSpec {
            template: self.path.clone(),
            methods: self.methods.clone(),
            policy: self.policy.clone(),
            destination: Destination::Upstream(Arc::clone(&self.forwarding)),
        }
    }
}

static PATH: Key = Key::live(
    "path",
    DefaultValue::Required,
    "template",
    "The template of its paths: `/api/v1/projects/{id}`, or `/api/v1/projects/{*rest}` for everything below. The alias `/api/projects/…` matches too.",
);
static UPSTREAM: Key =
    Key::live("upstream", DefaultValue::Required, "name", "The upstream that receives the requests.");
static STRIP_PREFIX: Key = Key::live(
    "strip_prefix",
    DefaultValue::Described("none"),
    "path",
    "The beginning of the path that is removed before the upstream sees it.",
);
static METHOD_OVERRIDE: Key = Key::live(
    "method_override",
    DefaultValue::Text("false"),
    "true or false",
    "Whether the upstream receives `X-HTTP-Method-Override`, `X-HTTP-Method` and `X-Method-Override` of a POST. It cannot stand beside `methods` or a table of `permissions`, because the gateway judges a request by the method in its first line.",
);

/// A list: each route begins with `[[routes]]`.
pub(crate) static SECTION: Section = Section {
    name: "routes",
    about: "\
Each route begins with `[[routes]]`. The most specific path wins. Two routes that would receive the same request
are refused, and so is a route at the path of a built-in endpoint (`/metrics`, `/api/v1/auth/login`, …). A route
at another path under `/account`, `/console`, `/oauth2`, `/.well-known` or under a family of built-in endpoints
(`/api/v1/auth`, `/api/v1/users`, …) gets a warning, because a later version may have an endpoint there. In the
environment all routes are one TOML list:
`PORTCULLIS__ROUTES='[{path = \"/api/v1/projects/{*rest}\", upstream = \"projects\"}]'`.",
    keys: &[
        &PATH,
        &UPSTREAM,
        &route_policy::METHODS,
        &route_policy::AUTH,
        &route_policy::ROLES,
        &route_policy::PERMISSIONS,
        &route_policy::API_KEYS,
        &route_policy::VERIFIED_EMAIL,
        &route_policy::MAX_SESSION_AGE,
        &route_policy::NETWORKS,
        &route_policy::NEEDS_DATABASE,
        &route_policy::CSRF,
        &route_policy::RATE_LIMIT,
        &STRIP_PREFIX,
        &METHOD_OVERRIDE,
        &route_policy::TIMEOUT,
        &route_policy::BODY_IDLE_TIMEOUT,
        &route_policy::STREAM_IDLE_TIMEOUT,
        &route_policy::MAX_BODY,
        &route_policy::ALLOWED_ORIGINS,
        &route_cors::CORS,
        &route_cors::REQUEST_HEADERS,
        &route_cors::EXPOSE_HEADERS,
        &route_policy::SECURITY_HEADERS,
    ],
};

/// The settings that a route refers to.
pub(crate) struct RouteContext<'a> {
    pub(crate) upstreams: &'a [Upstream],
    /// The names of the API's versions.
    pub(crate) versions: Vec<&'a str>,
    pub(crate) max_body: BodyLimit,
    pub(crate) limits: limits::LimitDefaults,
}

pub(crate) fn read(tree: &Table, context: &RouteContext<'_>, problems: &mut Problems) -> Vec<Route> {
    let Some(node) = tree.get("routes").map(Node::structured) else { return Vec::new() };
    let Value::List(items) = &node.value else {
        let notice = match &node.value {
            // A text from the environment that could not be parsed as a TOML list.
            Value::Raw(_) => Notice::new(&node.place, "this is not a TOML list of routes")
                .hint("write it as '[{path = \"/api/v1/projects/{*rest}\", upstream = \"projects\"}]'"),
            other => {
                let message = format!("`routes` is {}, but must be a list of routes", other.kind());
                Notice::new(&node.place, message).hint("begin each route with [[routes]], in two brackets")
            }
        };
        problems.add(notice);
        return Vec::new();
    };
    items.iter().filter_map(|item| read_one(item, context, problems)).collect()
}

/// Warns of upstreams that no route uses.
pub(crate) fn warn_of_unused_upstreams(upstreams: &[Upstream], routes: &[Route], warnings: &mut Vec<Notice>) {
    for upstream in upstreams {
        if !routes.iter().any(|route| route.forwarding.upstream == upstream.name) {
            let message = format!("no route uses the upstream {}", upstream.name);
            warnings.push(Notice::new(&upstream.place, message).hint("add [[routes]] for it, or remove it"));
        }
    }
}

/// Reads one route; `None` when its path or its upstream was refused.
fn read_one(node: &Node, context: &RouteContext<'_>, problems: &mut Problems) -> Option<Route> {
    let mut section = Reader::of(Some(node), SECTION.name.to_owned(), &SECTION, problems);
    let path = required(&mut section, &PATH, |text| {
        route_path::check(text, &context.versions).map_err(InvalidInput)?;
        Ok(text.to_owned())
    });
    let upstream = required(&mut section, &UPSTREAM, |text| {
        let known = || context.upstreams.iter().map(|upstream| &*upstream.name);
        let found = context.upstreams.iter().find(|upstream| *upstream.name == *text);
        found.ok_or_else(|| match known().next() {
            None => InvalidInput(format!("no upstream is set; add [upstreams.{text}]")),
            Some(_) => InvalidInput(format!("no upstream has this name: {}", unknown_hint(text, known()))),
        })
    });
    let methods = route_policy::methods(&mut section);
    let policy = route_policy::read(&mut section, path.as_deref(), &methods, context.max_body, &context.limits);
    let strip_prefix = section.optional(&STRIP_PREFIX, |text| match path.as_deref() {
        Some(path) => route_path::check_prefix(text, path).map(|()| text.into()).map_err(InvalidInput),
        None => Ok(text.into()),
    });
    let method_override = section.flag(&METHOD_OVERRIDE);
    if method_override && (methods != Methods::Standard || !policy.permissions.by_method.is_empty()) {
        let message = "would let a POST act as a method that the route restricts";
        section.reject(&METHOD_OVERRIDE, message, "remove it, or `methods` and the table of `permissions`");
    }
    let upstream = upstream?;
    let forwarding = Forwarding {
        upstream: Arc::clone(&upstream.name),
        strip_prefix,
        forward_authorization: upstream.forward_authorization,
        method_override,
    };
    Some(Route { path: path?, methods, policy, forwarding: Arc::new(forwarding), place: section.place_of(&PATH) })
}

fn required<T>(section: &mut Reader<'_, '_>, key: &Key, parse: impl Fn(&str) -> Result<T, InvalidInput>) -> Option<T> {
    if section.node(key).is_none() {
        section.reject(key, "is missing", format!("add {} to the route: {}", key.name, key.about));
    }
    section.optional(key, parse)
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    fn route(lines: &str) -> String {
        format!(
            "[upstreams.p]\ntargets = [\"http://127.0.0.1:1\"]\nforward_authorization = true\n[[routes]]\n{lines}\n"
        )
    }

    #[test]
    fn a_route_has_an_upstream_and_forwarding_options() {
        let file = route("path = \"/api/v1/p/{*rest}\"\nupstream = \"p\"\nstrip_prefix = \"/api\"");
        let settings = settings(&file, &[]);
        let forwarding = &settings.routes[0].forwarding;
        assert!(forwarding.forward_authorization, "the upstream decides");
        assert_eq!((&*forwarding.upstream, forwarding.strip_prefix.as_deref()), ("p", Some("/api")));
        assert_eq!(settings.route_specs().len(), 1);
    }

    #[test]
    fn a_missing_path_or_unknown_upstream_is_refused() {
        let message = refused(&route("upstream = \"elsewhere\""), &[]);
        for part in [
            "portcullis.toml:4: routes.path is missing\n  hint: add path to the route: ",
            "portcullis.toml:5: routes.upstream = \"elsewhere\" cannot be used\n  hint: no upstream has this name: write p",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
        let message = refused("[[routes]]\npath = \"/api/v1/x\"\nupstream = \"q\"\n", &[]);
        assert!(message.contains("hint: no upstream is set; add [upstreams.q]"), "{message}");
        let message = refused(&route("path = \"/api/p\"\nupstream = \"p\"\nstrip_prefix = \"/other\""), &[]);
        assert!(
            message.contains(
                "portcullis.toml:5: routes.path = \"/api/p\" cannot be used\n  hint: add a version: /api/v1/p"
            ),
            "{message}"
        );
        assert!(
            refused("[routes]\npath = \"/x\"\n", &[]).contains("begin each route with [[routes]], in two brackets")
        );
        let message = refused(&route("path = \"/x\"\nupstream = \"p\"\nstrip_prefix = \"/other\""), &[]);
        assert!(message.contains("portcullis.toml:7: routes.strip_prefix = \"/other\" cannot be used"), "{message}");
    }

    #[test]
    fn sr_54_a_method_override_cannot_evade_rights_by_method() {
        let with =
            |lines: &str| route(&format!("path = \"/api/v1/p\"\nupstream = \"p\"\nmethod_override = true\n{lines}"));
        assert!(settings(&with("permissions = [\"USER_VIEW\"]"), &[]).routes[0].forwarding.method_override);
        for lines in ["permissions = { DELETE = [\"USER_EDIT\"] }", "methods = [\"GET\", \"POST\"]"] {
            let message = refused(&with(lines), &[]);
            assert!(message.contains("portcullis.toml:7: routes.method_override would let a POST"), "{message}");
        }
        assert!(!settings(&route("path = \"/api/v1/p\"\nupstream = \"p\""), &[]).routes[0].forwarding.method_override);
    }
}

//! `[[routes]]`: which requests go to which upstream, and what they must bring.

use std::sync::Arc;

use portcullis_gate::{Destination, RouteSpec};
use portcullis_model::InvalidInput;
use portcullis_model::policy::{BodyLimit, Forwarding, Methods, RoutePolicy};

use crate::engine::key::{Key, Preset, Section};
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::{Reader, unknown_hint};
use crate::engine::tree::{Node, Table, Value};
use crate::sections::upstreams::Upstream;
use crate::sections::{limits, route_path, route_policy};

/// A proxied route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its template, canonical: `/api/v1/projects/{*rest}`.
    pub path: String,
    /// The methods it answers.
    pub methods: Methods,
    /// What it asks of a request.
    pub policy: RoutePolicy,
    /// Where it goes.
    pub forwarding: Arc<Forwarding>,
    /// Where it was written.
    pub place: Place,
}

impl Route {
    /// As the gate's table takes it.
    pub fn spec(&self) -> RouteSpec {
        RouteSpec {
            template: self.path.clone(),
            methods: self.methods.clone(),
            policy: self.policy.clone(),
            destination: Destination::Upstream(Arc::clone(&self.forwarding)),
        }
    }
}

static PATH: Key = Key::new(
    "path",
    Preset::Required,
    "template",
    "`/api/v1/projects/{id}`, or `/api/v1/projects/{*rest}` for everything below. The alias `/api/projects/…` comes with it.",
);
static UPSTREAM: Key = Key::new("upstream", Preset::Required, "name", "The upstream that answers.");
static STRIP_PREFIX: Key = Key::new(
    "strip_prefix",
    Preset::Otherwise("none"),
    "path",
    "Taken off the front of the path before the upstream sees it.",
);

/// A list: `[[routes]]` begins each.
pub(crate) static SECTION: Section = Section {
    name: "routes",
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
        &route_policy::TIMEOUT,
        &route_policy::MAX_BODY,
        &route_policy::ALLOWED_ORIGINS,
        &route_policy::SECURITY_HEADERS,
    ],
};

/// What a route is read against.
pub(crate) struct Surroundings<'a> {
    pub(crate) upstreams: &'a [Upstream],
    /// The names of the API's versions.
    pub(crate) versions: Vec<&'a str>,
    pub(crate) max_body: BodyLimit,
    pub(crate) limits: limits::Defaults,
}

pub(crate) fn read(
    tree: &Table,
    around: &Surroundings<'_>,
    problems: &mut Problems,
    warnings: &mut Vec<Notice>,
) -> Vec<Route> {
    let Some(node) = tree.get("routes").map(Node::structured) else { return Vec::new() };
    let Value::List(items) = &node.value else {
        let notice = match &node.value {
            // From the environment, where it is TOML: what could not be read as a list is still text.
            Value::Raw(_) => Notice::new(&node.place, "this is no TOML list of routes")
                .hint("write it as '[{path = \"/api/v1/projects/{*rest}\", upstream = \"projects\"}]'"),
            other => {
                let message = format!("`routes` is {}, and should be a list of routes", other.kind());
                Notice::new(&node.place, message).hint("begin each route with [[routes]], in two brackets")
            }
        };
        problems.add(notice);
        return Vec::new();
    };
    items.iter().filter_map(|item| read_one(item, around, problems, warnings)).collect()
}

/// Warns of upstreams that no route leads to.
pub(crate) fn warn_of_unused_upstreams(upstreams: &[Upstream], routes: &[Route], warnings: &mut Vec<Notice>) {
    for upstream in upstreams {
        if !routes.iter().any(|route| route.forwarding.upstream == upstream.name) {
            let message = format!("no route leads to the upstream {}", upstream.name);
            warnings.push(Notice::new(&upstream.place, message).hint("add [[routes]] for it, or take it out"));
        }
    }
}

/// One route; `None` when it has no path or no upstream that exists.
fn read_one(
    node: &Node,
    around: &Surroundings<'_>,
    problems: &mut Problems,
    warnings: &mut Vec<Notice>,
) -> Option<Route> {
    let mut section = Reader::of(Some(node), SECTION.name.to_owned(), &SECTION, problems);
    let path = required(&mut section, &PATH, |text| {
        route_path::check(text, &around.versions).map_err(InvalidInput)?;
        Ok(text.to_owned())
    });
    if let Some(path) = &path
        && let Some(later) = route_path::reserved_later(path)
    {
        let message = format!("{later} is where a later version has endpoints of its own");
        warnings.push(Notice::new(&section.place_of(&PATH), message).hint("choose another path, or be ready to move"));
    }
    let upstream = required(&mut section, &UPSTREAM, |text| {
        let known = || around.upstreams.iter().map(|upstream| &*upstream.name);
        let found = around.upstreams.iter().find(|upstream| *upstream.name == *text);
        found.ok_or_else(|| match known().next() {
            None => InvalidInput(format!("there is no upstream yet; add [upstreams.{text}]")),
            Some(_) => InvalidInput(format!("no upstream has this name: {}", unknown_hint(text, known()))),
        })
    });
    let methods = route_policy::methods(&mut section);
    let policy = route_policy::read(&mut section, path.as_deref(), &methods, around.max_body, &around.limits);
    let strip_prefix = section.optional(&STRIP_PREFIX, |text| match path.as_deref() {
        Some(path) => route_path::check_prefix(text, path).map(|()| text.into()).map_err(InvalidInput),
        None => Ok(text.into()),
    });
    let upstream = upstream?;
    let forwarding = Forwarding {
        upstream: Arc::clone(&upstream.name),
        strip_prefix,
        forward_authorization: upstream.forward_authorization,
    };
    Some(Route { path: path?, methods, policy, forwarding: Arc::new(forwarding), place: section.place_of(&PATH) })
}

fn required<T>(section: &mut Reader<'_, '_>, key: &Key, parse: impl Fn(&str) -> Result<T, InvalidInput>) -> Option<T> {
    if section.node(key).is_none() {
        section.reject(key, "is missing", format!("a route needs {}: {}", key.name, key.about));
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
    fn a_route_leads_to_an_upstream_and_carries_its_choices() {
        let file = route("path = \"/api/v1/p/{*rest}\"\nupstream = \"p\"\nstrip_prefix = \"/api\"");
        let settings = settings(&file, &[]);
        let forwarding = &settings.routes[0].forwarding;
        assert!(forwarding.forward_authorization, "it is the upstream's choice");
        assert_eq!((&*forwarding.upstream, forwarding.strip_prefix.as_deref()), ("p", Some("/api")));
        assert_eq!(settings.route_specs().len(), 1);
    }

    #[test]
    fn what_is_missing_or_leads_nowhere_is_refused_with_its_line() {
        let said = refused(&route("upstream = \"elsewhere\""), &[]);
        for part in [
            "portcullis.toml:4: routes.path is missing\n  hint: a route needs path: ",
            "portcullis.toml:5: routes.upstream = \"elsewhere\" cannot be used\n  hint: no upstream has this name: it is p",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        let said = refused("[[routes]]\npath = \"/api/v1/x\"\nupstream = \"q\"\n", &[]);
        assert!(said.contains("hint: there is no upstream yet; add [upstreams.q]"), "{said}");
        let said = refused(&route("path = \"/api/p\"\nupstream = \"p\"\nstrip_prefix = \"/other\""), &[]);
        assert!(
            said.contains("portcullis.toml:5: routes.path = \"/api/p\" cannot be used\n  hint: paths under /api"),
            "{said}"
        );
        assert!(
            refused("[routes]\npath = \"/x\"\n", &[]).contains("begin each route with [[routes]], in two brackets")
        );
        let said = refused(&route("path = \"/x\"\nupstream = \"p\"\nstrip_prefix = \"/other\""), &[]);
        assert!(said.contains("portcullis.toml:7: routes.strip_prefix = \"/other\" cannot be used"), "{said}");
    }

    #[test]
    fn a_path_that_a_later_version_needs_is_warned_of() {
        let warnings = settings(&route("path = \"/api/v1/webhooks\"\nupstream = \"p\""), &[]).warnings;
        assert!(
            warnings[0].to_string().starts_with("portcullis.toml:5: /api/v1/webhooks is where a later version"),
            "{warnings:?}"
        );
    }
}

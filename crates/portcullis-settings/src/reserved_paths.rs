//! Paths that belong to built-in endpoints. A route at a path where an endpoint lives is refused. A route elsewhere under
//! a family of such paths gets a warning, because a later version may add an endpoint there.

use std::collections::BTreeSet;

use portcullis_gate::RouteSpec;

use crate::engine::notice::{Notice, Problems};
use crate::sections::routes::Route;

/// Roots outside of `/api` where this version or a later one has pages and documents of its own.
const ROOTS: [&str; 5] = ["account", "console", "oauth2", "setup", ".well-known"];
/// Families under `/api/<version>/` that belong to Portcullis, although this version has no endpoint in them.
const LATER_FAMILIES: [&str; 3] = ["backups", "webhook-events", "webhooks"];

/// Checks every route against the built-in endpoints, and returns the routes that were not refused.
pub(crate) fn check<'a>(
    built_in: &[RouteSpec],
    routes: &'a [Route],
    problems: &mut Problems,
    warnings: &mut Vec<Notice>,
) -> Vec<&'a Route> {
    let endpoints: Vec<&str> = built_in.iter().map(|spec| spec.template.as_str()).collect();
    let families = families(&endpoints);
    let mut accepted = Vec::with_capacity(routes.len());
    for route in routes {
        let path = &route.path;
        if let Some(endpoint) = endpoints.iter().find(|endpoint| shadows(path, endpoint)) {
            let message = format!("the route {path} would take requests from the built-in endpoint {endpoint}");
            let hint = "built-in endpoints cannot be replaced: choose another path";
            problems.add(Notice::new(&route.place, message).hint(hint));
            continue;
        }
        if let Some(family) = reserved_family(path, &families) {
            let message = format!("the route {path} is at or under {family}, which is reserved for built-in endpoints");
            let hint = "choose another path: a later version may have an endpoint at this one";
            warnings.push(Notice::new(&route.place, message).hint(hint));
        }
        accepted.push(route);
    }
    accepted
}

/// Whether a route with the template `route` would receive requests that the endpoint answers. It does where it is the
/// more specific of the two, because the most specific template wins. Methods do not matter: a path has one owner.
fn shadows(route: &str, endpoint: &str) -> bool {
    let (mut route, mut endpoint) = (segments(route), segments(endpoint));
    // Whether an earlier segment has decided that the route wins.
    let mut wins = false;
    loop {
        match (route.next(), endpoint.next()) {
            (None, None) => return true,
            (Some(ours), Some(theirs)) => match (Segment::of(ours), Segment::of(theirs)) {
                (Segment::Rest, Segment::Rest) | (_, Segment::Rest) => return true,
                (Segment::Rest, _) => return wins,
                (Segment::Fixed, Segment::Fixed) if !ours.eq_ignore_ascii_case(theirs) => return false,
                (Segment::Parameter, Segment::Fixed) if !wins => return false,
                (Segment::Fixed, Segment::Parameter) => wins = true,
                _ => {}
            },
            // A template that ends in `{*rest}` also matches the path without its last segment.
            (Some(ours), None) => return wins && Segment::of(ours) == Segment::Rest && route.next().is_none(),
            (None, Some(theirs)) => return Segment::of(theirs) == Segment::Rest,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Segment {
    /// Plain text.
    Fixed,
    /// `{name}`: any one segment.
    Parameter,
    /// `{*name}`: everything that is left of the path.
    Rest,
}

impl Segment {
    fn of(text: &str) -> Self {
        match text {
            _ if text.starts_with("{*") => Self::Rest,
            _ if text.starts_with('{') => Self::Parameter,
            _ => Self::Fixed,
        }
    }
}

/// The segments of a template without the version: built-in endpoints are the same under every one.
fn segments(template: &str) -> impl Iterator<Item = &str> {
    let mut segments = template.trim_start_matches('/').split('/').peekable();
    let is_api = segments.peek() == Some(&"api");
    segments.enumerate().filter(move |(index, _)| !(is_api && *index == 1)).map(|(_, segment)| segment)
}

/// The families under `/api/<version>/` that the endpoints are in, and those of later versions.
fn families<'a>(endpoints: &[&'a str]) -> BTreeSet<&'a str> {
    let of_endpoints = endpoints.iter().filter_map(|endpoint| api_family(endpoint)).map(|(_, family)| family);
    of_endpoints.chain(LATER_FAMILIES).collect()
}

/// The version and the family of a path under `/api`.
fn api_family(path: &str) -> Option<(&str, &str)> {
    let (version, rest) = path.strip_prefix("/api/")?.split_once('/')?;
    Some((version, rest.split('/').next().unwrap_or(rest)))
}

/// The reserved root or family that a template is in. Letter case does not count: some upstreams ignore it.
fn reserved_family(template: &str, families: &BTreeSet<&str>) -> Option<String> {
    let folded = template.to_ascii_lowercase();
    match api_family(&folded) {
        Some((version, family)) => families.contains(family).then(|| format!("/api/{version}/{family}")),
        None => {
            let first = folded.trim_start_matches('/').split('/').next().unwrap_or_default();
            ROOTS.contains(&first).then(|| format!("/{first}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{refused, settings};

    #[test]
    fn a_route_shadows_an_endpoint_where_it_is_more_specific() {
        for (route, endpoint) in [
            ("/metrics", "/metrics"),
            ("/Metrics", "/metrics"),
            ("/", "/"),
            ("/api/v1/users/{name}", "/api/v1/users/{id}"),
            ("/api/v1/users/me", "/api/v1/users/{id}"),
            ("/api/v1/users/me/{*rest}", "/api/v1/users/{id}"),
            ("/api/v1/users/me/{*rest}", "/api/v1/users/{id}/sessions"),
            ("/api/v2/health", "/api/v1/health"),
        ] {
            assert!(shadows(route, endpoint), "{route} {endpoint}");
        }
    }

    #[test]
    fn a_less_specific_route_leaves_the_endpoint_its_requests() {
        for (route, endpoint) in [
            ("/{*rest}", "/"),
            ("/{*rest}", "/metrics"),
            ("/api/v1/{*rest}", "/api/v1/auth/login"),
            ("/api/v1/{service}/login", "/api/v1/auth/login"),
            ("/api/v1/auth/{*rest}", "/api/v1/auth/login"),
            ("/api/v1/health/{*rest}", "/api/v1/health"),
            ("/api/v1/users", "/api/v1/users/{id}"),
            ("/api/v1/users/{id}/photo", "/api/v1/users/{id}"),
            ("/api/v1/users/{id}/{*rest}", "/api/v1/users/{id}/sessions"),
            ("/metricsx", "/metrics"),
        ] {
            assert!(!shadows(route, endpoint), "{route} {endpoint}");
        }
    }

    #[test]
    fn families_are_the_endpoints_own_and_those_of_later_versions() {
        let families = families(&["/api/v1/auth/login", "/api/v1/health", "/metrics"]);
        let family = |template: &str| reserved_family(template, &families);
        assert_eq!(family("/api/v1/auth/{*rest}").as_deref(), Some("/api/v1/auth"));
        assert_eq!(family("/api/v2/Auth").as_deref(), Some("/api/v2/auth"));
        assert_eq!(family("/api/v1/webhooks/github").as_deref(), Some("/api/v1/webhooks"));
        for root in ["/account/x", "/console", "/oauth2/token", "/.well-known/security.txt"] {
            assert!(family(root).is_some(), "{root}");
        }
        for free in ["/api/v1/authors", "/api/v1/{*rest}", "/{*rest}", "/accounts", "/app/auth"] {
            assert_eq!(family(free), None, "{free}");
        }
    }

    fn with_route(path: &str) -> String {
        format!("[upstreams.p]\ntargets = [\"http://127.0.0.1:1\"]\n[[routes]]\nupstream = \"p\"\npath = \"{path}\"\n")
    }

    #[test]
    fn a_route_at_the_path_of_an_endpoint_is_refused() {
        for path in ["/", "/metrics", "/api/v1/Auth/login", "/api/v1/users/me"] {
            let message = refused(&with_route(path), &[]);
            let expected =
                format!("portcullis.toml:5: the route {path} would take requests from the built-in endpoint ");
            assert!(message.starts_with(&expected), "{message}");
            assert_eq!(message.matches("hint:").count(), 1, "{message}");
        }
    }

    #[test]
    fn a_route_elsewhere_in_a_family_gets_a_warning() {
        for path in ["/api/v1/auth/{*rest}", "/api/v1/webhooks/github", "/.well-known/security.txt"] {
            let warnings = settings(&with_route(path), &[]).warnings;
            let expected = format!("portcullis.toml:5: the route {path} is at or under ");
            assert!(warnings.len() == 1 && warnings[0].to_string().starts_with(&expected), "{warnings:?}");
        }
    }

    #[test]
    fn a_route_elsewhere_gets_no_warning() {
        for path in ["/api/v1/projects/{*rest}", "/{*rest}", "/api/v1/{*rest}"] {
            assert_eq!(settings(&with_route(path), &[]).warnings, [], "{path}");
        }
    }
}

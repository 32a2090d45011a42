//! Routes that would receive the same requests.

use portcullis_gate::{RouteError, RouteSpec, RouteTable, Versions};
use portcullis_model::policy::Methods;
use portcullis_telemetry::{Metrics, MetricsOptions};

use crate::engine::notice::{Notice, Place, Problems};
use crate::sections::routes::Route;

/// Refuses every proxied route that collides with an earlier one or with a built-in endpoint.
///
/// The route table of the gate decides, so that what is accepted here is accepted at the start. It stops at the first
/// collision; only when there is one are the routes added one at a time, to find them all.
pub(crate) fn check(built_in: &[RouteSpec], routes: &[&Route], versions: &Versions, problems: &mut Problems) {
    let metrics = Metrics::new(&MetricsOptions::default(), "");
    let table = |accepted: &[&Route]| {
        let specs = built_in.iter().cloned().chain(accepted.iter().map(|route| route.spec())).collect();
        RouteTable::build(specs, versions, &metrics)
    };
    if table(routes).is_ok() {
        return;
    }
    let mut accepted: Vec<&Route> = Vec::new();
    for &route in routes {
        accepted.push(route);
        if let Err(fault) = table(&accepted) {
            accepted.pop();
            problems.add(describe(&fault, route, &accepted));
        }
    }
}

fn describe(fault: &RouteError, route: &Route, accepted: &[&Route]) -> Notice {
    match fault {
        RouteError::Template { reason, .. } => {
            Notice::new(&route.place, format!("{} is not a valid path of a route: {reason}", route.path))
                .hint("write it as /api/v1/projects/{id} or /api/v1/projects/{*rest}")
        }
        RouteError::Collision { first, .. } => match other(first, route, accepted) {
            Some(other) => {
                let with = match &other.place {
                    Place::File { line, .. } => format!("{} on line {line}", other.path),
                    _ => other.path.clone(),
                };
                Notice::new(&route.place, format!("the route {} collides with {with}", route.path))
                    .hint("both would receive the same request: change a path, or give each its own methods")
            }
            None => Notice::new(
                &route.place,
                format!("the route {} collides with the built-in endpoint {first}", route.path),
            )
            .hint("built-in endpoints cannot be replaced: choose another path"),
        },
    }
}

/// Finds the earlier route of a collision. The table ignores letter case, and so does this.
fn other<'a>(first: &str, route: &Route, accepted: &[&'a Route]) -> Option<&'a Route> {
    let named = || accepted.iter().filter(|known| known.path.eq_ignore_ascii_case(first));
    named().find(|known| overlap(&known.methods, &route.methods)).or_else(|| named().next()).copied()
}

fn overlap(a: &Methods, b: &Methods) -> bool {
    match (a, b) {
        (Methods::Only(a), Methods::Only(b)) => a.iter().any(|name| b.contains(name)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    fn routes(paths: &[&str]) -> String {
        let mut file = "[upstreams.p]\ntargets = [\"http://127.0.0.1:1\"]\n".to_owned();
        for path in paths {
            file.push_str(&format!("[[routes]]\nupstream = \"p\"\npath = {path}\n"));
        }
        file
    }

    #[test]
    fn every_collision_is_reported_with_both_lines() {
        let file = routes(&[
            "\"/api/v1/a/{id}\"",
            "\"/api/v1/a/{name}\"",
            "\"/api/v1/b\"\nmethods = [\"GET\"]",
            "\"/api/v1/b\"\nmethods = [\"POST\"]",
            "\"/api/v1/b\"\nmethods = [\"POST\", \"PUT\"]",
            "\"/api/v1/B\"",
        ]);
        let message = refused(&file, &[]);
        for part in [
            "portcullis.toml:8: the route /api/v1/a/{name} collides with /api/v1/a/{id} on line 5",
            "portcullis.toml:19: the route /api/v1/b collides with /api/v1/b on line 15",
            "the route /api/v1/B collides with /api/v1/b on line 11",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
        assert_eq!(message.matches("collides").count(), 3, "{message}");
    }

    #[test]
    fn routes_that_only_look_alike_are_accepted() {
        let file = routes(&["\"/api/v1/a/{id}\"", "\"/api/v1/a/new\"", "\"/api/v1/{*rest}\"", "\"/api/v1/a\""]);
        assert_eq!(settings(&file, &[]).routes.len(), 4);
    }
}

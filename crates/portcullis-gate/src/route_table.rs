//! From a path and a method to a route.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::Method;
use portcullis_model::policy::{Forwarding, Methods, RoutePolicy};
use portcullis_telemetry::{Metrics, RouteMetrics};

use crate::careless;
use crate::cors::Cors;
use crate::limits::RouteLimits;

/// A built-in endpoint's place in the table that its room keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointId(pub u16);

/// Where a permitted request goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// An endpoint of Portcullis itself.
    BuiltIn(EndpointId),
    /// A service behind the gateway.
    Upstream(Arc<Forwarding>),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(_) => f.write_str("a built-in endpoint"),
            Self::Upstream(forwarding) => write!(f, "the upstream {}", forwarding.upstream),
        }
    }
}

/// One route as settings or the built-in API describe it.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// `/api/v1/users/{id}`; `{*rest}` at the end also matches nothing at all.
    pub template: String,
    /// The methods it answers.
    pub methods: Methods,
    /// What it asks of a request.
    pub policy: RoutePolicy,
    /// Where requests go.
    pub destination: Destination,
}

/// Two routes that would answer the same request, or a template that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteFault {
    /// Both match some request.
    #[error("routes {first:?} and {second:?} collide")]
    Collision {
        /// The one that came first.
        first: String,
        /// The one that came later.
        second: String,
    },
    /// The template cannot be read.
    #[error("the path {template:?} is not a route template: {reason}")]
    Template {
        /// The template.
        template: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A route in the table.
#[derive(Debug)]
pub struct Route {
    /// The template.
    pub template: Arc<str>,
    /// What it asks of a request.
    pub policy: RoutePolicy,
    /// Where requests go.
    pub destination: Destination,
    /// Its own limits with their places in the tables of arrival times.
    pub(crate) limits: RouteLimits,
    /// Its own origins, in place of the ones that hold everywhere.
    pub(crate) cors: Option<Cors>,
}

/// The routes on one template, by method.
struct Entry {
    template: Arc<str>,
    metrics: Arc<RouteMetrics>,
    any: Option<Arc<Route>>,
    by_method: Vec<(Method, Arc<Route>)>,
    allow: String,
}

/// All routes. Matching allocates nothing but a path's parameters.
pub struct RouteTable {
    entries: Vec<Entry>,
    exact: matchit::Router<usize>,
    /// The same templates as a careless server reads them: a path that matches
    /// another route there is refused, because an upstream may be such a server.
    folded: matchit::Router<usize>,
    unmatched: Arc<RouteMetrics>,
}

/// What a path and a method were found to be.
pub(crate) enum Matched<'t, 'p> {
    Route { route: &'t Arc<Route>, metrics: &'t Arc<RouteMetrics>, parameters: matchit::Params<'t, 'p> },
    WrongMethod { allow: &'t str, metrics: &'t Arc<RouteMetrics> },
    Nothing,
}

impl RouteTable {
    /// Builds the table, or says which routes cannot stand beside each other.
    pub fn build(specs: Vec<RouteSpec>, metrics: &Metrics) -> Result<Self, RouteFault> {
        let mut table = Self {
            entries: Vec::new(),
            exact: matchit::Router::new(),
            folded: matchit::Router::new(),
            unmatched: metrics.route("unmatched"),
        };
        let mut known = HashMap::new();
        for spec in specs {
            table.add(spec, &mut known, metrics)?;
        }
        table.open_catch_alls();
        for entry in &mut table.entries {
            entry.allow = entry.allow_header();
        }
        Ok(table)
    }

    /// `known` finds the entry of a template.
    fn add(
        &mut self,
        spec: RouteSpec,
        known: &mut HashMap<String, usize>,
        metrics: &Metrics,
    ) -> Result<(), RouteFault> {
        let RouteSpec { template, methods, policy, destination } = spec;
        if !template.starts_with('/') {
            return Err(RouteFault::Template { template, reason: "it must begin with /".to_owned() });
        }
        let index = match known.get(&template) {
            Some(index) => *index,
            None => {
                let index = self.insert(&template, metrics)?;
                known.insert(template, index);
                index
            }
        };
        let template: Arc<str> = Arc::clone(&self.entries[index].template);
        let route = Arc::new(Route {
            template: Arc::clone(&template),
            limits: RouteLimits::new(&policy.limits, stable_hash(&template, &methods)),
            cors: policy.allowed_origins.as_ref().map(|origins| Cors::new(origins.iter().cloned())),
            policy,
            destination,
        });
        let collision = || RouteFault::Collision { first: template.to_string(), second: template.to_string() };
        let entry = &mut self.entries[index];
        match methods {
            Methods::Any => {
                if entry.any.is_some() || !entry.by_method.is_empty() {
                    return Err(collision());
                }
                entry.any = Some(route);
            }
            Methods::Only(names) => {
                if entry.any.is_some() {
                    return Err(collision());
                }
                for name in names {
                    let method = Method::from_bytes(name.as_bytes()).map_err(|_| RouteFault::Template {
                        template: template.to_string(),
                        reason: format!("{name:?} is not a method"),
                    })?;
                    if entry.by_method.iter().any(|(known, _)| *known == method) {
                        return Err(collision());
                    }
                    entry.by_method.push((method, Arc::clone(&route)));
                }
            }
        }
        Ok(())
    }

    fn insert(&mut self, template: &str, metrics: &Metrics) -> Result<usize, RouteFault> {
        let index = self.entries.len();
        self.exact.insert(template, index).map_err(|error| fault(error, template))?;
        self.folded.insert(careless::template(template), index).map_err(|error| fault(error, template))?;
        self.entries.push(Entry {
            template: template.into(),
            metrics: metrics.route(template),
            any: None,
            by_method: Vec::new(),
            allow: String::new(),
        });
        Ok(index)
    }

    /// `/x/{*rest}` also answers `/x` and `/x/`, unless a route of their own does.
    fn open_catch_alls(&mut self) {
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(start) = entry.template.find("/{*") else { continue };
            let prefix = &entry.template[..start];
            for opened in [format!("{prefix}/"), prefix.to_owned()] {
                if !opened.is_empty() {
                    // A conflict means that a route of its own stands there.
                    let _ = self.exact.insert(opened.as_str(), index);
                    let _ = self.folded.insert(careless::template(&opened), index);
                }
            }
        }
    }

    /// Finds the route of a normalised, canonical path.
    pub(crate) fn find<'t, 'p>(&'t self, path: &'p str, method: &Method) -> Matched<'t, 'p> {
        let Ok(found) = self.exact.at(path) else { return Matched::Nothing };
        let index = *found.value;
        let entry = &self.entries[index];
        if careless::may_differ(path) {
            let read = careless::reading(path, entry.template.ends_with('/'));
            if !self.folded.at(&read).is_ok_and(|folded| *folded.value == index) {
                return Matched::Nothing;
            }
        }
        match entry.route(method) {
            Some(route) => Matched::Route { route, metrics: &entry.metrics, parameters: found.params },
            None => Matched::WrongMethod { allow: &entry.allow, metrics: &entry.metrics },
        }
    }

    pub(crate) fn unmatched(&self) -> &Arc<RouteMetrics> {
        &self.unmatched
    }

    /// Every route, once.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.entries.iter().flat_map(Entry::routes)
    }

    /// Every route with its methods, for people.
    pub fn list(&self) -> Vec<(String, &Arc<Route>)> {
        let mut list = Vec::new();
        for entry in &self.entries {
            if let Some(any) = &entry.any {
                list.push(("ANY".to_owned(), any));
            }
            list.extend(entry.by_method.iter().map(|(method, route)| (method.to_string(), route)));
        }
        list
    }
}

impl Entry {
    fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let named =
            self.by_method.iter().enumerate().filter(|(index, (_, route))| {
                !self.by_method[..*index].iter().any(|(_, known)| Arc::ptr_eq(known, route))
            });
        self.any.iter().chain(named.map(|(_, (_, route))| route))
    }

    fn route(&self, method: &Method) -> Option<&Arc<Route>> {
        let exactly =
            |wanted: &Method| self.by_method.iter().find(|(known, _)| known == wanted).map(|(_, route)| route);
        self.any.as_ref().or_else(|| exactly(method)).or_else(|| {
            // RFC 9110 §9.3.2: what answers GET answers HEAD.
            if *method == Method::HEAD { exactly(&Method::GET) } else { None }
        })
    }

    fn allow_header(&self) -> String {
        let mut names: Vec<&str> = self.by_method.iter().map(|(method, _)| method.as_str()).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.join(", ")
    }
}

fn fault(error: matchit::InsertError, template: &str) -> RouteFault {
    match error {
        matchit::InsertError::Conflict { with } => RouteFault::Collision { first: with, second: template.to_owned() },
        other => RouteFault::Template { template: template.to_owned(), reason: other.to_string() },
    }
}

/// FNV-1a: the same route keeps its counters when the configuration is swapped.
fn stable_hash(template: &str, methods: &Methods) -> u64 {
    let methods = match methods {
        Methods::Any => String::new(),
        Methods::Only(names) => names.join(","),
    };
    template
        .bytes()
        .chain([0])
        .chain(methods.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::policy;
    use portcullis_model::policy::AuthRequirement;
    use portcullis_telemetry::MetricsOptions;

    fn spec(template: &str, methods: &[&str]) -> RouteSpec {
        let methods = if methods.is_empty() {
            Methods::Any
        } else {
            Methods::Only(methods.iter().map(|&name| name.to_owned()).collect())
        };
        let destination = Destination::BuiltIn(EndpointId(0));
        RouteSpec { template: template.to_owned(), methods, policy: policy(AuthRequirement::None), destination }
    }

    fn build(specs: Vec<RouteSpec>) -> Result<RouteTable, RouteFault> {
        RouteTable::build(specs, &Metrics::new(&MetricsOptions::default(), "1"))
    }

    fn found(table: &RouteTable, method: &Method, path: &str) -> Option<String> {
        match table.find(path, method) {
            Matched::Route { route, .. } => Some(route.template.to_string()),
            Matched::WrongMethod { allow, .. } => Some(format!("allow {allow}")),
            Matched::Nothing => None,
        }
    }

    #[test]
    fn methods_of_one_template_stand_side_by_side() {
        let table = build(vec![spec("/a/{id}", &["GET"]), spec("/a/{id}", &["PUT"])]).expect("no collision");
        assert_eq!(found(&table, &Method::PUT, "/a/7").as_deref(), Some("/a/{id}"));
        assert_eq!(found(&table, &Method::HEAD, "/a/7").as_deref(), Some("/a/{id}"));
        assert_eq!(found(&table, &Method::DELETE, "/a/7").as_deref(), Some("allow GET, HEAD, PUT"));
        assert_eq!(found(&table, &Method::GET, "/a"), None);
    }

    #[test]
    fn a_catch_all_matches_nothing_at_all_too_unless_a_route_of_its_own_does() {
        let table =
            build(vec![spec("/p/{*rest}", &[]), spec("/q/{*rest}", &[]), spec("/q", &[])]).expect("no collision");
        for path in ["/p", "/p/", "/p/1", "/p/1/2"] {
            assert_eq!(found(&table, &Method::GET, path).as_deref(), Some("/p/{*rest}"), "{path}");
        }
        assert_eq!(found(&table, &Method::GET, "/q").as_deref(), Some("/q"));
        assert_eq!(found(&table, &Method::GET, "/q/1").as_deref(), Some("/q/{*rest}"));
        assert_eq!(found(&table, &Method::GET, "/q/"), None, "to some servers it is /q");
        assert_eq!(found(&table, &Method::GET, "/px"), None);
    }

    #[test]
    fn a_route_may_claim_the_slash_at_the_end_for_itself() {
        let table = build(vec![spec("/q", &[]), spec("/q/", &[]), spec("/{*rest}", &[])]).expect("no collision");
        assert_eq!(found(&table, &Method::GET, "/q/").as_deref(), Some("/q/"));
        assert_eq!(found(&table, &Method::GET, "/q").as_deref(), Some("/q"));
        assert_eq!(found(&table, &Method::GET, "/").as_deref(), Some("/{*rest}"));
    }

    #[test]
    fn routes_that_answer_the_same_request_collide() {
        for (a, b) in [
            (spec("/a", &[]), spec("/a", &["GET"])),
            (spec("/a", &["GET"]), spec("/a", &["GET"])),
            (spec("/a/{id}", &["GET"]), spec("/a/{name}", &["PUT"])),
            (spec("/a/x", &[]), spec("/A/x", &[])),
            (spec("/a/x:y", &[]), spec("/a/x%3Ay", &[])),
        ] {
            assert!(matches!(build(vec![a, b]), Err(RouteFault::Collision { .. })));
        }
        assert!(matches!(build(vec![spec("a", &[])]), Err(RouteFault::Template { .. })));
        assert!(matches!(build(vec![spec("/a/{", &[])]), Err(RouteFault::Template { .. })));
    }

    #[test]
    fn a_path_that_a_careless_server_takes_for_another_routes_is_no_route() {
        let specs = ["/api/v1/admin/{*rest}", "/api/v1/things:delete", "/api/v1/{*rest}", "/api/v1/users/{id}"];
        let table = build(specs.map(|template| spec(template, &[])).into()).expect("no collision");
        for stranger in [
            "/api/v1/admin;x/users",
            "/api/v1/admin%3Bx/users",
            "/api/v1/ADMIN",
            "/api/v1/Admin/",
            "/api/v1/things%3Adelete",
            "/api/v1/things:delete/",
            "/api/v1/users/7/",
        ] {
            assert_eq!(found(&table, &Method::GET, stranger), None, "{stranger}");
        }
        for (own, template) in [
            ("/api/v1/admin/a;b=c/Report%20(1).pdf", specs[0]),
            ("/api/v1/admin/", specs[0]),
            ("/api/v1/users/A;b", specs[3]),
            ("/api/v1/files/100%25", specs[2]),
            ("/api/v1/files/", specs[2]),
        ] {
            assert_eq!(found(&table, &Method::GET, own).as_deref(), Some(template), "{own}");
        }
        assert_eq!(found(&table, &Method::GET, "/api/v1/admin/x").as_deref(), Some("/api/v1/admin/{*rest}"));
        assert_eq!(found(&table, &Method::GET, "/api/v1/Admin/x"), None);
        assert_eq!(found(&table, &Method::GET, "/api/v1/Other/X").as_deref(), Some("/api/v1/{*rest}"));
    }
}

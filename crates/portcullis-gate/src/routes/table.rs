//! The route table: from a path and a method to a route.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use portcullis_telemetry::{Metrics, RouteMetrics};

use crate::routes::lenient_path;
use crate::routes::methods::TemplateRoutes;
use crate::routes::requested_path::is_api;
use crate::routes::route::{Route, RouteError, RouteSpec};
use crate::routes::versions::{self, ApiPath, Versions};

/// All routes of a configuration. Matching allocates only the parameters of a path.
pub struct RouteTable {
    templates: Vec<TemplateRoutes>,
    /// Indexes into `templates`.
    exact: matchit::Router<usize>,
    /// The same templates as a lenient server reads them. A path that matches another template here than in `exact` is
    /// refused, because the upstream may be such a server.
    lenient: matchit::Router<usize>,
    unmatched: Arc<RouteMetrics>,
}

/// The result of matching a path and a method.
pub(crate) enum Match<'t, 'p> {
    Route { route: &'t Arc<Route>, metrics: &'t Arc<RouteMetrics>, parameters: matchit::Params<'t, 'p> },
    WrongMethod { routes: &'t TemplateRoutes },
    NotFound,
}

/// Where a path is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathPlace {
    /// On a route that names a version of the API.
    Versioned,
    /// On a route that names none, such as `/{*rest}`.
    Unversioned,
    /// On a route, but a lenient server may read it as the path of another one.
    Confusable,
    /// On no route.
    Nowhere,
}

impl Match<'_, '_> {
    /// Whether the path is that of a route which names a version of the API.
    pub(crate) fn names_version(&self) -> bool {
        match self {
            Self::Route { route, .. } => names_version(&route.template),
            Self::WrongMethod { routes } => names_version(&routes.template),
            Self::NotFound => false,
        }
    }
}

impl RouteTable {
    /// Builds the table. Built-in endpoints are the same under every version.
    ///
    /// # Errors
    /// Names two routes that match the same request, or a template that cannot be read.
    pub fn build(specs: Vec<RouteSpec>, versions: &Versions, metrics: &Metrics) -> Result<Self, RouteError> {
        let mut table = Self {
            templates: Vec::new(),
            exact: matchit::Router::new(),
            lenient: matchit::Router::new(),
            unmatched: metrics.route("unmatched"),
        };
        let mut indexes = HashMap::new();
        for spec in specs {
            table.add(spec, &mut indexes, metrics)?;
        }
        table.add_built_in_to_versions(versions)?;
        table.match_catch_alls_without_rest();
        Ok(table)
    }

    /// `indexes` finds the index of a template that has a route already.
    fn add(
        &mut self,
        spec: RouteSpec,
        indexes: &mut HashMap<String, usize>,
        metrics: &Metrics,
    ) -> Result<(), RouteError> {
        let RouteSpec { template, methods, policy, destination } = spec;
        if !template.starts_with('/') {
            return Err(RouteError::Template { template, reason: "it must begin with /".to_owned() });
        }
        let index = match indexes.get(&template) {
            Some(index) => *index,
            None => {
                let index = self.add_template(&template, metrics)?;
                indexes.insert(template, index);
                index
            }
        };
        let routes = &mut self.templates[index];
        let route = Route::new(&routes.template, &methods, policy, destination);
        routes.add(&methods, &route)
    }

    fn add_template(&mut self, template: &str, metrics: &Metrics) -> Result<usize, RouteError> {
        let index = self.templates.len();
        insert(&mut self.exact, template, template, index)?;
        insert(&mut self.lenient, &lenient_path::read_template(template), template, index)?;
        self.templates.push(TemplateRoutes::new(template, metrics.route(template)));
        Ok(index)
    }

    /// Lets the built-in endpoints, which are written as those of `v1`, match under every version.
    fn add_built_in_to_versions(&mut self, versions: &Versions) -> Result<(), RouteError> {
        for (index, routes) in self.templates.iter().enumerate() {
            let Some(rest) = routes.template.strip_prefix("/api/v1/").filter(|_| routes.is_built_in()) else {
                continue;
            };
            for version in versions.names().filter(|name| *name != "v1") {
                let template = format!("/api/{version}/{rest}");
                insert(&mut self.exact, &template, &template, index)?;
                insert(&mut self.lenient, &lenient_path::read_template(&template), &template, index)?;
            }
        }
        Ok(())
    }

    /// Lets `/x/{*rest}` match `/x` and `/x/` too, unless those paths have a route of their own.
    fn match_catch_alls_without_rest(&mut self) {
        for (index, routes) in self.templates.iter().enumerate() {
            let Some(start) = routes.template.find("/{*") else { continue };
            let prefix = &routes.template[..start];
            for without_rest in [format!("{prefix}/"), prefix.to_owned()] {
                if !without_rest.is_empty() {
                    // A conflict means that the path has a route of its own.
                    let _ = self.exact.insert(without_rest.as_str(), index);
                    let _ = self.lenient.insert(lenient_path::read_template(&without_rest), index);
                }
            }
        }
    }

    /// Finds the route of a normalised, canonical path.
    pub(crate) fn find<'t, 'p>(&'t self, path: &'p str, method: &Method) -> Match<'t, 'p> {
        let Ok((routes, parameters)) = self.look_up(path) else { return Match::NotFound };
        match routes.route(method) {
            Some(route) => Match::Route { route, metrics: &routes.metrics, parameters },
            None => Match::WrongMethod { routes },
        }
    }

    /// Returns where a normalised path is in the table, whatever the method.
    pub(crate) fn place(&self, path: &str) -> PathPlace {
        match self.look_up(path) {
            Ok((routes, _)) if names_version(&routes.template) => PathPlace::Versioned,
            Ok(_) => PathPlace::Unversioned,
            Err(place) => place,
        }
    }

    fn look_up<'t, 'p>(&'t self, path: &'p str) -> Result<(&'t TemplateRoutes, matchit::Params<'t, 'p>), PathPlace> {
        let found = self.exact.at(path).map_err(|_| PathPlace::Nowhere)?;
        let index = *found.value;
        let routes = &self.templates[index];
        let mut reading = Cow::Borrowed(path);
        if lenient_path::may_be_read_differently(path) {
            let lenient = lenient_path::read(path, routes.template.ends_with('/'));
            // `/API/x` may be read as the alias of a route that names its version.
            let becomes_api = is_api(&lenient) && !is_api(path) && !is_api(&routes.template.to_ascii_lowercase());
            if becomes_api || !self.lenient.at(&lenient).is_ok_and(|other| *other.value == index) {
                return Err(PathPlace::Confusable);
            }
            reading = Cow::Owned(lenient);
        }
        // A literal at the end of the template says that the dot belongs to the name.
        if routes.template.ends_with('}') && self.is_format_of_stricter_route(&reading, routes) {
            return Err(PathPlace::Confusable);
        }
        Ok((routes, found.params))
    }

    /// Whether a framework that takes `/admin.json` for `/admin` would read the path as that of a route which asks more of a
    /// request. Only an upstream that has both routes can.
    fn is_format_of_stricter_route(&self, path: &str, routes: &TemplateRoutes) -> bool {
        lenient_path::may_have_format(path)
            && lenient_path::without_format(path).any(|reading| {
                let other = self.lenient.at(reading).ok().map(|found| &self.templates[*found.value]);
                other.is_some_and(|other| !std::ptr::eq(other, routes) && routes.may_evade(other))
            })
    }

    /// Returns the metrics of requests that match no route.
    pub(crate) fn unmatched(&self) -> &Arc<RouteMetrics> {
        &self.unmatched
    }

    /// Returns every route once.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.templates.iter().flat_map(TemplateRoutes::routes)
    }
}

/// Inserts a template, or a lenient reading of it.
fn insert(router: &mut matchit::Router<usize>, reading: &str, template: &str, index: usize) -> Result<(), RouteError> {
    router.insert(reading, index).map_err(|error| template_error(error, template))
}

/// Whether a template is that of one version of the API.
fn names_version(template: &str) -> bool {
    matches!(versions::split(template), ApiPath::Versioned { .. })
}

fn template_error(error: matchit::InsertError, template: &str) -> RouteError {
    match error {
        matchit::InsertError::Conflict { with } => RouteError::Collision { first: with, second: template.to_owned() },
        other => RouteError::Template { template: template.to_owned(), reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::route::{Destination, EndpointId};
    use crate::tests::policy;
    use portcullis_model::policy::{AuthRequirement, Methods};
    use portcullis_telemetry::MetricsOptions;

    fn spec(template: &str, methods: &[&str]) -> RouteSpec {
        let methods = if methods.is_empty() {
            Methods::Standard
        } else {
            Methods::Only(methods.iter().map(|&name| name.to_owned()).collect())
        };
        let destination = Destination::BuiltIn(EndpointId(0));
        RouteSpec { template: template.to_owned(), methods, policy: policy(AuthRequirement::None), destination }
    }

    fn build(specs: Vec<RouteSpec>) -> Result<RouteTable, RouteError> {
        RouteTable::build(specs, &Versions::new(Vec::new()), &Metrics::new(&MetricsOptions::default(), "1"))
    }

    fn found(table: &RouteTable, method: &Method, path: &str) -> Option<String> {
        match table.find(path, method) {
            Match::Route { route, .. } => Some(route.template.to_string()),
            Match::WrongMethod { routes } => Some(format!("allow {}", routes.allow_header())),
            Match::NotFound => None,
        }
    }

    #[test]
    fn one_template_may_have_a_route_for_each_method() {
        let table = build(vec![spec("/a/{id}", &["GET"]), spec("/a/{id}", &["PUT"])]).expect("no collision");
        assert_eq!(found(&table, &Method::PUT, "/a/7").as_deref(), Some("/a/{id}"));
        assert_eq!(found(&table, &Method::HEAD, "/a/7").as_deref(), Some("/a/{id}"));
        assert_eq!(found(&table, &Method::DELETE, "/a/7").as_deref(), Some("allow GET, HEAD, PUT"));
        assert_eq!(found(&table, &Method::GET, "/a"), None);
    }

    #[test]
    fn a_catch_all_matches_the_path_without_its_rest_too() {
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
    fn a_path_with_a_final_slash_may_have_its_own_route() {
        let table = build(vec![spec("/q", &[]), spec("/q/", &[]), spec("/{*rest}", &[])]).expect("no collision");
        assert_eq!(found(&table, &Method::GET, "/q/").as_deref(), Some("/q/"));
        assert_eq!(found(&table, &Method::GET, "/q").as_deref(), Some("/q"));
        assert_eq!(found(&table, &Method::GET, "/").as_deref(), Some("/{*rest}"));
    }

    #[test]
    fn routes_that_match_the_same_request_collide() {
        for (a, b) in [
            (spec("/a", &[]), spec("/a", &["GET"])),
            (spec("/a", &["GET"]), spec("/a", &["GET"])),
            (spec("/a/{id}", &["GET"]), spec("/a/{name}", &["PUT"])),
            (spec("/a/x", &[]), spec("/A/x", &[])),
            (spec("/a/x:y", &[]), spec("/a/x%3Ay", &[])),
        ] {
            assert!(matches!(build(vec![a, b]), Err(RouteError::Collision { .. })));
        }
        assert!(matches!(build(vec![spec("a", &[])]), Err(RouteError::Template { .. })));
        assert!(matches!(build(vec![spec("/a/{", &[])]), Err(RouteError::Template { .. })));
    }

    const ADMIN: &str = "/api/v1/admin/{*rest}";
    const DELETE_THINGS: &str = "/api/v1/things:delete";
    const ANYTHING: &str = "/api/v1/{*rest}";
    const USER: &str = "/api/v1/users/{id}";

    fn overlapping() -> RouteTable {
        build([ADMIN, DELETE_THINGS, ANYTHING, USER].map(|template| spec(template, &[])).into()).expect("no collision")
    }

    #[test]
    fn a_path_that_a_lenient_server_reads_as_another_is_not_found() {
        for path in [
            "/api/v1/admin;x/users",
            "/api/v1/admin%3Bx/users",
            "/api/v1/ADMIN",
            "/api/v1/Admin/",
            "/api/v1/Admin/x",
            "/api/v1/things%3Adelete",
            "/api/v1/things:delete/",
            "/api/v1/admin./users",
            "/api/v1/admin%20/users",
            "/api/v1/things:delete..",
            "/api/v1/users/7/",
        ] {
            assert_eq!(found(&overlapping(), &Method::GET, path), None, "{path}");
        }
    }

    #[test]
    fn a_format_leads_around_no_stricter_route_of_an_upstream() {
        let to = |upstream: &str, template: &str, auth| RouteSpec {
            policy: policy(auth),
            destination: Destination::Upstream(Arc::new(portcullis_model::policy::Forwarding {
                upstream: upstream.into(),
                strip_prefix: None,
                forward_authorization: false,
                method_override: false,
            })),
            ..spec(template, &[])
        };
        let table = build(vec![
            to("app", "/admin", AuthRequirement::Required),
            to("app", "/admin.css", AuthRequirement::None),
            to("app", "/news", AuthRequirement::None),
            to("other", "/reports", AuthRequirement::Required),
            to("app", "/{*rest}", AuthRequirement::None),
        ])
        .expect("no collision");
        for path in ["/admin.json", "/admin.tar.gz", "/admin.", "/Admin.json", "/admin.json%20", "/admin%2ejson"] {
            let normal = crate::request::path::normalise(path).expect("not ambiguous");
            assert_eq!(found(&table, &Method::GET, &normal), None, "{path}");
        }
        for (path, template) in [
            ("/admin.css", "/admin.css"),
            ("/news.json", "/{*rest}"),
            ("/reports.json", "/{*rest}"),
            ("/admins.json", "/{*rest}"),
            ("/x/admin.json", "/{*rest}"),
            ("/.admin", "/{*rest}"),
        ] {
            assert_eq!(found(&table, &Method::GET, path).as_deref(), Some(template), "{path}");
        }
    }

    #[test]
    fn a_path_that_every_server_reads_the_same_is_found() {
        for (path, template) in [
            ("/api/v1/admin/x", ADMIN),
            ("/api/v1/admin/a;b=c/Report%20(1).pdf", ADMIN),
            ("/api/v1/admin/", ADMIN),
            ("/api/v1/users/A;b", USER),
            ("/api/v1/files/100%25", ANYTHING),
            ("/api/v1/files/", ANYTHING),
            ("/api/v1/Other/X", ANYTHING),
        ] {
            assert_eq!(found(&overlapping(), &Method::GET, path).as_deref(), Some(template), "{path}");
        }
    }
}

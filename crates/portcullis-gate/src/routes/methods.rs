//! The routes that share one template, by method.

use std::sync::Arc;

use http::Method;
use portcullis_model::policy::{Methods, STANDARD_METHODS};
use portcullis_telemetry::RouteMetrics;

use crate::routes::route::{Destination, Route, RouteError};

/// The routes of one template: one for the standard methods, or one for each named method.
pub(crate) struct TemplateRoutes {
    pub(crate) template: Arc<str>,
    pub(crate) metrics: Arc<RouteMetrics>,
    standard: Option<Arc<Route>>,
    by_method: Vec<(Method, Arc<Route>)>,
}

impl TemplateRoutes {
    pub(crate) fn new(template: &str, metrics: Arc<RouteMetrics>) -> Self {
        Self { template: template.into(), metrics, standard: None, by_method: Vec::new() }
    }

    /// Adds a route for these methods, unless another route of the template serves one of them.
    pub(crate) fn add(&mut self, methods: &Methods, route: &Arc<Route>) -> Result<(), RouteError> {
        match methods {
            Methods::Standard => {
                if self.standard.is_some() || !self.by_method.is_empty() {
                    return Err(self.collision());
                }
                self.standard = Some(Arc::clone(route));
            }
            Methods::Only(names) => {
                if self.standard.is_some() {
                    return Err(self.collision());
                }
                for name in names {
                    let method = Method::from_bytes(name.as_bytes()).ok();
                    // `CONNECT` would open a tunnel to anywhere, `TRACE` would echo credentials.
                    let method = method.filter(|method| !matches!(*method, Method::CONNECT | Method::TRACE));
                    let method = method.ok_or_else(|| RouteError::Template {
                        template: self.template.to_string(),
                        reason: format!("{name:?} is not a method that a route can serve"),
                    })?;
                    if self.exactly(&method).is_some() {
                        return Err(self.collision());
                    }
                    self.by_method.push((method, Arc::clone(route)));
                }
            }
        }
        Ok(())
    }

    fn collision(&self) -> RouteError {
        RouteError::Collision { first: self.template.to_string(), second: self.template.to_string() }
    }

    /// Returns the route of a method. A route that serves `GET` serves `HEAD` too (RFC 9110 §9.3.2).
    pub(crate) fn route(&self, method: &Method) -> Option<&Arc<Route>> {
        self.standard
            .as_ref()
            .filter(|_| is_standard(method))
            .or_else(|| self.exactly(method))
            .or_else(|| if *method == Method::HEAD { self.exactly(&Method::GET) } else { None })
    }

    fn exactly(&self, method: &Method) -> Option<&Arc<Route>> {
        self.by_method.iter().find(|(known, _)| known == method).map(|(_, route)| route)
    }

    /// Returns each route once, however many methods it serves.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let named =
            self.by_method.iter().enumerate().filter(|(index, (_, route))| {
                !self.by_method[..*index].iter().any(|(_, known)| Arc::ptr_eq(known, route))
            });
        self.standard.iter().chain(named.map(|(_, (_, route))| route))
    }

    /// Whether the template is that of built-in endpoints. The settings keep operators' routes off their paths.
    pub(crate) fn is_built_in(&self) -> bool {
        self.routes().any(|route| matches!(route.destination, Destination::BuiltIn(_)))
    }

    /// Whether a route of this template leads to the same upstream as one of `stricter`, and asks less of a request.
    pub(crate) fn may_evade(&self, stricter: &Self) -> bool {
        self.routes().any(|route| {
            stricter.routes().any(|other| {
                route.destination.is_same_upstream(&other.destination) && other.policy.asks_more_than(&route.policy)
            })
        })
    }

    /// Returns the value of the `Allow` header.
    pub(crate) fn allow_header(&self) -> String {
        let mut names: Vec<&str> = match self.standard {
            Some(_) => STANDARD_METHODS.to_vec(),
            None => self.by_method.iter().map(|(method, _)| method.as_str()).collect(),
        };
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.join(", ")
    }
}

/// Whether a method is one of the [`STANDARD_METHODS`]. The comparison costs no more than one of numbers.
fn is_standard(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS
    )
}

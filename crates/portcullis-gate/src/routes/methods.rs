//! The routes that share one template, by method.

use std::sync::Arc;

use http::Method;
use portcullis_model::policy::Methods;
use portcullis_telemetry::RouteMetrics;

use crate::routes::route::{Route, RouteError};

/// The routes of one template: one for any method, or one for each named method.
pub(crate) struct TemplateRoutes {
    pub(crate) template: Arc<str>,
    pub(crate) metrics: Arc<RouteMetrics>,
    any: Option<Arc<Route>>,
    by_method: Vec<(Method, Arc<Route>)>,
}

impl TemplateRoutes {
    pub(crate) fn new(template: &str, metrics: Arc<RouteMetrics>) -> Self {
        Self { template: template.into(), metrics, any: None, by_method: Vec::new() }
    }

    /// Adds a route for these methods, unless another route of the template serves one of them.
    pub(crate) fn add(&mut self, methods: &Methods, route: &Arc<Route>) -> Result<(), RouteError> {
        match methods {
            Methods::Any => {
                if self.any.is_some() || !self.by_method.is_empty() {
                    return Err(self.collision());
                }
                self.any = Some(Arc::clone(route));
            }
            Methods::Only(names) => {
                if self.any.is_some() {
                    return Err(self.collision());
                }
                for name in names {
                    let method = Method::from_bytes(name.as_bytes()).map_err(|_| RouteError::Template {
                        template: self.template.to_string(),
                        reason: format!("{name:?} is not a method"),
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
        self.any
            .as_ref()
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
        self.any.iter().chain(named.map(|(_, (_, route))| route))
    }

    /// Returns each method's name, or `ANY`, with its route.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = (String, &Arc<Route>)> {
        let any = self.any.iter().map(|route| ("ANY".to_owned(), route));
        any.chain(self.by_method.iter().map(|(method, route)| (method.to_string(), route)))
    }

    /// Returns the value of the `Allow` header.
    pub(crate) fn allow_header(&self) -> String {
        let mut names: Vec<&str> = self.by_method.iter().map(|(method, _)| method.as_str()).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.join(", ")
    }
}

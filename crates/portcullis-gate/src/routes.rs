//! From a request's path, method and version to its route.

pub(crate) mod lenient_path;
pub(crate) mod methods;
pub(crate) mod requested_path;
pub(crate) mod route;
pub(crate) mod table;
pub(crate) mod versions;

//! The canonical path of a request, and the version of the API that it asks for (docs/contract.md, "API versions").

use std::borrow::Cow;

use http::header::HeaderMap;
use portcullis_model::Clock;

use crate::routes::table::{Match, PathPlace, RouteTable};
use crate::routes::versions::{self, ApiPath, VersionNameError, Versions};

/// The path that routes are matched on, in which the version is explicit: `/api/x` becomes `/api/v1/x`.
pub(crate) struct RequestedPath<'a> {
    pub(crate) path: Cow<'a, str>,
    /// The version that the response names, as an index into the versions; `None` for a path outside the API.
    pub(crate) response_version: Option<usize>,
    requested: Requested,
    alias: Option<Alias<'a>>,
}

/// A path that names no version itself.
#[derive(Clone, Copy)]
struct Alias<'a> {
    /// The normalised path as it was sent: `/api/x`.
    sent: &'a str,
    /// What follows `/api/`.
    rest: &'a str,
}

#[derive(Clone, Copy)]
enum Requested {
    /// The path belongs to no version.
    None,
    Version(usize),
    /// The request asks for a version that cannot be used; the path is that of a version which has the route.
    Refused(VersionNameError),
}

/// Why a path leads to no version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathVersionError {
    /// The path names a version that cannot exist, such as `/api/v0`.
    Invalid,
    /// The path has no route in its version, or names a version that is not served and is no route of another one.
    NotServed,
}

/// Why the requested version cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VersionError {
    Invalid,
    Unsupported { supported: Vec<String> },
    Sunset { successor: Option<String> },
}

impl<'a> RequestedPath<'a> {
    /// Resolves the version of a normalised path.
    pub(crate) fn resolve(
        api: Api<'_>,
        path: &'a str,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Self, PathVersionError> {
        let Api { versions, clock, .. } = api;
        let default = || versions.default_index(clock);
        match versions::split(path) {
            ApiPath::Other => Ok(Self {
                path: Cow::Borrowed(path),
                response_version: is_api(path).then(default),
                requested: Requested::None,
                alias: None,
            }),
            ApiPath::Invalid => Err(PathVersionError::Invalid),
            ApiPath::Versioned { version, rest } => match versions.find(version) {
                Some(version) => Ok(Self {
                    path: Cow::Borrowed(path),
                    response_version: Some(version),
                    requested: Requested::Version(version),
                    alias: None,
                }),
                None => api.refused(VersionNameError::Unsupported, rest).ok_or(PathVersionError::NotServed),
            },
            ApiPath::Alias { rest } => {
                let (version, requested) = match versions.requested(headers, query) {
                    Ok(requested) => {
                        let version = requested.unwrap_or_else(default);
                        (version, Requested::Version(version))
                    }
                    Err(error) => (default(), Requested::Refused(error)),
                };
                let (path, alias) = (api.path_in(version, rest), Some(Alias { sent: path, rest }));
                Ok(Self { path: Cow::Owned(path), response_version: Some(version), requested, alias })
            }
        }
    }

    /// Whether the route of the path may be used. The alias needs a route that names a version itself.
    pub(crate) fn is_settled_by(&self, found: &Match<'_, '_>) -> bool {
        self.alias.is_none() || found.names_version()
    }

    /// Returns the path in place of an alias that is no route of its version.
    ///
    /// A request whose version cannot be used is refused for that, if another version has the route. Otherwise a route
    /// that names no version receives the path as it was sent. A path that is, or may be read as, a route of another version
    /// is no such path: a version in a header must not lead around the policy of the route.
    pub(crate) fn without_version(&self, api: Api<'_>) -> Result<Self, PathVersionError> {
        let Some(Alias { sent, rest }) = self.alias else { return Err(PathVersionError::NotServed) };
        if let Requested::Refused(error) = self.requested
            && let Some(refused) = api.refused(error, rest)
        {
            return Ok(refused);
        }
        if api.is_versioned(rest) {
            return Err(PathVersionError::NotServed);
        }
        Ok(Self {
            path: Cow::Borrowed(sent),
            response_version: self.response_version,
            requested: Requested::None,
            alias: None,
        })
    }

    /// Whether the requested version can be served now. Some endpoints outlive every version.
    pub(crate) fn check_version(&self, api: Api<'_>, outlives_versions: bool) -> Result<(), VersionError> {
        match self.requested {
            Requested::None => Ok(()),
            Requested::Refused(VersionNameError::Invalid) => Err(VersionError::Invalid),
            Requested::Refused(VersionNameError::Unsupported) => {
                let supported = api.versions.served_at(api.clock.now()).map(str::to_owned).collect();
                Err(VersionError::Unsupported { supported })
            }
            Requested::Version(index) => {
                let version = api.versions.get(index);
                if version.sunset_at.is_some() && !outlives_versions && version.is_sunset(api.clock.now()) {
                    return Err(VersionError::Sunset { successor: version.successor.clone() });
                }
                Ok(())
            }
        }
    }
}

/// The versions of the API and their routes.
#[derive(Clone, Copy)]
pub(crate) struct Api<'c> {
    pub(crate) versions: &'c Versions,
    pub(crate) routes: &'c RouteTable,
    pub(crate) clock: &'c Clock,
}

impl Api<'_> {
    fn path_in(self, version: usize, rest: &str) -> String {
        format!("/api/{}/{rest}", self.versions.get(version).name)
    }

    /// Returns the path in a version that is served and has it as a route, the default first, with the reason for which
    /// the request is refused after 404 and 405.
    fn refused<'a>(self, error: VersionNameError, rest: &str) -> Option<RequestedPath<'a>> {
        let (now, default) = (self.clock.now(), self.versions.default_index(self.clock));
        let others = (0..self.versions.names().count()).filter(|index| *index != default);
        let served = std::iter::once(default).chain(others).filter(|index| !self.versions.get(*index).is_sunset(now));
        let path = served
            .map(|index| self.path_in(index, rest))
            .find(|path| self.routes.place(path) == PathPlace::Versioned)?;
        Some(RequestedPath {
            path: Cow::Owned(path),
            response_version: Some(default),
            requested: Requested::Refused(error),
            alias: None,
        })
    }

    /// Whether any version has the path as a route, or a lenient server may read it as one.
    fn is_versioned(self, rest: &str) -> bool {
        (0..self.versions.names().count()).any(|index| {
            matches!(self.routes.place(&self.path_in(index, rest)), PathPlace::Versioned | PathPlace::Confusable)
        })
    }
}

/// Whether a path, normalised or not, is under `/api`.
pub(crate) fn is_api(path: &str) -> bool {
    path.strip_prefix("/api").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

//! The canonical path of a request, and the version of the API that it asks for (docs/contract.md, "API versions").

use std::borrow::Cow;

use http::header::HeaderMap;
use portcullis_model::Clock;

use crate::routes::versions::{self, ApiPath, VersionNameError, Versions};

/// The path that routes are matched on, in which the version is explicit: `/api/x` becomes `/api/v1/x`.
pub(crate) struct RequestedPath<'a> {
    pub(crate) path: Cow<'a, str>,
    /// The version that the response names, as an index into the versions; `None` for a path outside the API.
    pub(crate) response_version: Option<usize>,
    requested: Requested,
}

enum Requested {
    /// The path belongs to no version.
    None,
    Version(usize),
    /// A header or the query asks for a version that cannot be used; the path is the default version's.
    Refused(VersionNameError),
}

/// Why a path leads to no version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathVersionError {
    /// The path names a version that cannot exist, such as `/api/v0`.
    Invalid,
    /// The path names a version that is not served, so it has no routes.
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
        versions: &Versions,
        path: &'a str,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Self, PathVersionError> {
        match versions::split(path) {
            ApiPath::Other => Ok(Self {
                path: Cow::Borrowed(path),
                response_version: is_api(path).then(|| versions.default_index()),
                requested: Requested::None,
            }),
            ApiPath::Invalid => Err(PathVersionError::Invalid),
            ApiPath::Versioned { version } => {
                let version = versions.find(version).ok_or(PathVersionError::NotServed)?;
                let requested = Requested::Version(version);
                Ok(Self { path: Cow::Borrowed(path), response_version: Some(version), requested })
            }
            ApiPath::Alias { rest } => {
                let (version, requested) = match versions.requested(headers, query) {
                    Ok(requested) => {
                        let version = requested.unwrap_or(versions.default_index());
                        (version, Requested::Version(version))
                    }
                    Err(error) => (versions.default_index(), Requested::Refused(error)),
                };
                let path = format!("/api/{}/{rest}", versions.get(version).name);
                Ok(Self { path: Cow::Owned(path), response_version: Some(version), requested })
            }
        }
    }

    /// Whether the requested version can be served now.
    pub(crate) fn check_version(&self, versions: &Versions, clock: &Clock) -> Result<(), VersionError> {
        match self.requested {
            Requested::None => Ok(()),
            Requested::Refused(VersionNameError::Invalid) => Err(VersionError::Invalid),
            Requested::Refused(VersionNameError::Unsupported) => {
                let supported = versions.served_at(clock.now()).map(str::to_owned).collect();
                Err(VersionError::Unsupported { supported })
            }
            Requested::Version(index) => {
                let version = versions.get(index);
                if version.sunset_at.is_some_and(|at| at <= clock.now()) {
                    return Err(VersionError::Sunset { successor: version.successor.clone() });
                }
                Ok(())
            }
        }
    }
}

/// Whether a path, normalised or not, is under `/api`.
pub(crate) fn is_api(path: &str) -> bool {
    path.strip_prefix("/api").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

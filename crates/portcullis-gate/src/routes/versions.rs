//! The versions of the API (docs/contract.md, "API versions").

use http::HeaderMap;
use portcullis_model::{Clock, Timestamp};

use crate::request::query::query_value;

/// The versions that this gateway serves, in the order of their numbers.
#[derive(Clone, Debug)]
pub struct Versions {
    served: Vec<Version>,
    /// The index of the version for requests that name none, until its sunset.
    default: usize,
}

/// The default version is past its sunset, and no successor of it is served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the default version {0} is past its sunset, and no successor of it is served")]
pub struct NoDefaultVersion(pub String);

/// One version and the dates of its life cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The name, such as `v1`.
    pub name: String,
    /// When the version was released.
    pub released_at: Option<Timestamp>,
    /// The URL of its documentation.
    pub documentation: Option<String>,
    /// When the version was or will be deprecated.
    pub deprecated_at: Option<Timestamp>,
    /// When the version stops being served.
    pub sunset_at: Option<Timestamp>,
    /// The name of the version to use instead.
    pub successor: Option<String>,
}

/// The stage of a version at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionStage {
    /// The version is served and not deprecated.
    Supported,
    /// The version is served and deprecated.
    Deprecated,
    /// The version is past its sunset and no longer served.
    Sunset,
}

/// The state of every version at one moment.
#[derive(Clone, Debug)]
pub struct VersionsAt {
    /// The name of the version for requests that name none.
    pub current: String,
    /// The names of the versions that are served, oldest first.
    pub supported: Vec<String>,
    /// Every version with its stage, oldest first.
    pub versions: Vec<(Version, VersionStage)>,
}

impl Version {
    fn stage(&self, now: Timestamp) -> VersionStage {
        match self.deprecated_at {
            _ if self.is_sunset(now) => VersionStage::Sunset,
            Some(at) if at <= now => VersionStage::Deprecated,
            _ => VersionStage::Supported,
        }
    }

    pub(crate) fn is_sunset(&self, now: Timestamp) -> bool {
        self.sunset_at.is_some_and(|at| at <= now)
    }

    /// Returns the documentation of a version that names none: the page that describes the built-in endpoints, for `v1`.
    pub fn default_documentation(name: &str) -> Option<String> {
        (name == "v1").then(|| "/api/docs".to_owned())
    }

    /// Returns a version that is neither deprecated nor about to end.
    pub fn current(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            released_at: None,
            documentation: Self::default_documentation(name),
            deprecated_at: None,
            sunset_at: None,
            successor: None,
        }
    }
}

/// A normalised path, split by its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiPath<'a> {
    /// A path outside `/api/`.
    Other,
    /// `/api/<rest>`, which means the version that the request asks for elsewhere, or the default one.
    Alias { rest: &'a str },
    /// `/api/v1/<rest>`, whether that version is served or not.
    Versioned { version: &'a str, rest: &'a str },
    /// `/api/v0/…`, which looks like a version and is none.
    Invalid,
}

/// Why the version that a request asks for in a header or its query cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionNameError {
    Invalid,
    Unsupported,
}

impl Versions {
    /// Sorts the versions and adds `v1`, which is the default, if it is missing.
    pub fn new(mut served: Vec<Version>) -> Self {
        if !served.iter().any(|version| version.name == "v1") {
            served.insert(0, Version::current("v1"));
        }
        served.sort_by_key(|version| version.name[1..].parse::<u32>().unwrap_or(u32::MAX));
        let default = served.iter().position(|version| version.name == "v1").unwrap_or_default();
        Self { served, default }
    }

    /// Makes another version the default. A name that is not served changes nothing.
    #[must_use]
    pub fn with_default(mut self, name: &str) -> Self {
        self.default = self.find(name).unwrap_or(self.default);
        self
    }

    /// Checks that requests that name no version have one at `now`.
    ///
    /// # Errors
    /// Names the default version if neither it nor a successor is served.
    pub fn check_default(&self, now: Timestamp) -> Result<(), NoDefaultVersion> {
        let served = self.default_served_at(now).map(|_| ());
        served.ok_or_else(|| NoDefaultVersion(self.get(self.default).name.clone()))
    }

    /// Returns the version for requests that name none: the default one, or after its sunset the first of its successors
    /// that is served. Without such a successor it stays the default, and requests for it are refused.
    pub(crate) fn default_index(&self, clock: &Clock) -> usize {
        // Nearly every default has no sunset, and then the time is not needed.
        match self.get(self.default).sunset_at {
            None => self.default,
            Some(_) => self.default_served_at(clock.now()).unwrap_or(self.default),
        }
    }

    fn default_served_at(&self, now: Timestamp) -> Option<usize> {
        let mut index = self.default;
        // A chain of successors that is longer than the list goes in a circle.
        for _ in &self.served {
            let version = self.get(index);
            if !version.is_sunset(now) {
                return Some(index);
            }
            index = self.find(version.successor.as_deref()?)?;
        }
        None
    }

    pub(crate) fn get(&self, index: usize) -> &Version {
        &self.served[index]
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.served.iter().position(|version| version.name == name)
    }

    /// Returns the names of all versions, oldest first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.served.iter().map(|version| version.name.as_str())
    }

    /// Returns the names of the versions that are not past their sunset, oldest first.
    pub(crate) fn served_at(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let served = move |version: &&Version| !version.is_sunset(now);
        self.served.iter().filter(served).map(|version| version.name.as_str())
    }

    /// Returns the version that a request asks for beside its path: in `Accept-Version`, else in `X-API-Version`, else
    /// in the query parameter `api_version`.
    pub(crate) fn requested(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Option<usize>, VersionNameError> {
        for name in ["accept-version", "x-api-version"] {
            if let Some(value) = headers.get(name) {
                return self.parse(value.to_str().unwrap_or_default()).map(Some);
            }
        }
        match query.filter(|query| query.contains("api_version")).and_then(|query| query_value(query, "api_version")) {
            Some(value) => self.parse(&value).map(Some),
            None => Ok(None),
        }
    }

    fn parse(&self, name: &str) -> Result<usize, VersionNameError> {
        if !is_version(name) {
            return Err(VersionNameError::Invalid);
        }
        self.find(name).ok_or(VersionNameError::Unsupported)
    }

    /// Returns the state of every version at `now`, for `GET /api/versions`.
    pub fn at(&self, now: Timestamp) -> VersionsAt {
        VersionsAt {
            current: self.get(self.default_served_at(now).unwrap_or(self.default)).name.clone(),
            supported: self.served_at(now).map(str::to_owned).collect(),
            versions: self.served.iter().map(|version| (version.clone(), version.stage(now))).collect(),
        }
    }
}

/// Splits a normalised path by its version.
pub(crate) fn split(path: &str) -> ApiPath<'_> {
    let Some(rest) = path.strip_prefix("/api/") else { return ApiPath::Other };
    let (segment, below) = rest.split_once('/').unwrap_or((rest, ""));
    if is_version(segment) {
        ApiPath::Versioned { version: segment, rest: below }
    } else if looks_like_version(segment) {
        ApiPath::Invalid
    } else {
        ApiPath::Alias { rest }
    }
}

/// Whether the text is the name of a version: `v[1-9][0-9]{0,2}`.
fn is_version(text: &str) -> bool {
    match text.as_bytes() {
        [b'v', b'1'..=b'9', rest @ ..] => rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether the text was meant as a version: a `v` in either case, and any digits.
fn looks_like_version(text: &str) -> bool {
    match text.as_bytes() {
        [b'v' | b'V', rest @ ..] => !rest.is_empty() && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn paths_are_split_by_version() {
        assert_eq!(split("/metrics"), ApiPath::Other);
        assert_eq!(split("/api/users"), ApiPath::Alias { rest: "users" });
        assert_eq!(split("/api/versions"), ApiPath::Alias { rest: "versions" });
        assert_eq!(split("/api/v1/users"), ApiPath::Versioned { version: "v1", rest: "users" });
        assert_eq!(split("/api/v999/users"), ApiPath::Versioned { version: "v999", rest: "users" });
        for invalid in ["/api/v0/x", "/api/V1/x", "/api/v01/x", "/api/v1000/x", "/api/v0"] {
            assert_eq!(split(invalid), ApiPath::Invalid, "{invalid}");
        }
    }

    #[test]
    fn accept_version_counts_before_x_api_version_and_query() {
        let versions = Versions::new(vec![Version::current("v1"), Version::current("v2")]);
        let mut headers = HeaderMap::new();
        assert_eq!(versions.requested(&headers, Some("api_version=v2")), Ok(Some(1)));
        headers.insert("x-api-version", HeaderValue::from_static("v1"));
        assert_eq!(versions.requested(&headers, Some("api_version=v2")), Ok(Some(0)));
        headers.insert("accept-version", HeaderValue::from_static("v9"));
        assert_eq!(versions.requested(&headers, None), Err(VersionNameError::Unsupported));
        for invalid in ["", "1", "V1", "v0", "v1000", "../", "v1 "] {
            headers.insert("accept-version", HeaderValue::from_str(invalid).expect("a value"));
            assert_eq!(versions.requested(&headers, None), Err(VersionNameError::Invalid), "{invalid:?}");
        }
    }

    #[test]
    fn each_version_has_its_stage() {
        let now = Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        let past = Some(Timestamp::UNIX_EPOCH);
        let old = Version { deprecated_at: past, successor: Some("v2".to_owned()), ..Version::current("v1") };
        let gone = Version { sunset_at: past, ..Version::current("v2") };
        let state = Versions::new(vec![old, gone, Version::current("v3")]).at(now);
        let stages: Vec<VersionStage> = state.versions.iter().map(|(_, stage)| *stage).collect();
        assert_eq!(stages, [VersionStage::Deprecated, VersionStage::Sunset, VersionStage::Supported]);
        assert_eq!((state.current.as_str(), state.supported), ("v1", vec!["v1".to_owned(), "v3".to_owned()]));
    }

    fn until(name: &str, seconds: u64, successor: Option<&str>) -> Version {
        let sunset_at = Some(Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
        Version { sunset_at, successor: successor.map(str::to_owned), ..Version::current(name) }
    }

    #[test]
    fn a_default_past_its_sunset_hands_over_to_its_successor() {
        let at = |seconds| Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let chain = [until("v1", 10, Some("v2")), until("v2", 20, Some("v3")), Version::current("v3")];
        let versions = Versions::new(chain.to_vec());
        for (now, current) in [(9, "v1"), (10, "v2"), (19, "v2"), (20, "v3"), (1000, "v3")] {
            assert_eq!(versions.at(at(now)).current, current, "{now}");
            assert_eq!(versions.check_default(at(now)), Ok(()), "{now}");
        }
        assert_eq!(versions.with_default("v3").at(at(0)).current, "v3");
    }

    #[test]
    fn a_default_without_a_served_successor_is_reported() {
        let now = Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(15);
        let check = |versions: Vec<Version>| Versions::new(versions).check_default(now);
        let refused = Err(NoDefaultVersion("v1".to_owned()));
        assert_eq!(check(vec![until("v1", 10, None), Version::current("v2")]), refused);
        assert_eq!(check(vec![until("v1", 10, Some("v2")), until("v2", 10, None)]), refused);
        assert_eq!(check(vec![until("v1", 10, Some("v2")), until("v2", 10, Some("v1"))]), refused, "a circle");
        assert_eq!(check(vec![until("v1", 20, None)]), Ok(()));
        let versions = Versions::new(vec![until("v1", 10, None), Version::current("v2")]);
        assert_eq!(versions.with_default("v2").check_default(now), Ok(()));
    }
}

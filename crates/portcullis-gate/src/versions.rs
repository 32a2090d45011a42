//! Which version of the API a request means (contract §2).

use http::HeaderMap;
use portcullis_model::{Timestamp, user::rfc3339_millis};
use serde_json::{Map, Value, json};

/// The versions this gateway serves.
#[derive(Clone, Debug)]
pub struct Versions {
    served: Vec<Version>,
}

/// One version and its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `v1`.
    pub name: String,
    /// Since when it is served.
    pub released_at: Option<Timestamp>,
    /// Where it is described.
    pub documentation: Option<String>,
    /// When it was or will be deprecated.
    pub deprecated_at: Option<Timestamp>,
    /// When it stops being served.
    pub sunset_at: Option<Timestamp>,
    /// The version to move to.
    pub successor: Option<String>,
}

impl Version {
    /// A version without an end.
    pub fn current(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            released_at: None,
            documentation: (name == "v1").then(|| "/api/docs".to_owned()),
            deprecated_at: None,
            sunset_at: None,
            successor: None,
        }
    }
}

/// A path split by its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiPath<'a> {
    /// Not under `/api/`.
    Other,
    /// `/api/<rest>`, for the default or the asked-for version.
    Alias { rest: &'a str },
    /// `/api/v1/<rest>`.
    Versioned { version: &'a str },
    /// `/api/v0/…`: looks like a version and is none.
    Invalid,
}

/// What was asked for beside the URL is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionFault {
    Invalid,
    Unsupported,
}

impl Versions {
    /// The default version first. There is always at least `v1`.
    pub fn new(mut served: Vec<Version>) -> Self {
        if !served.iter().any(|version| version.name == "v1") {
            served.insert(0, Version::current("v1"));
        }
        served.sort_by_key(|version| version.name[1..].parse::<u32>().unwrap_or(u32::MAX));
        Self { served }
    }

    pub(crate) fn default_index(&self) -> usize {
        0
    }

    pub(crate) fn get(&self, index: usize) -> &Version {
        &self.served[index]
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.served.iter().position(|version| version.name == name)
    }

    /// The names, oldest first.
    pub fn supported(&self) -> Vec<&str> {
        self.served.iter().map(|version| version.name.as_str()).collect()
    }

    /// The names of those that are not past their sunset, oldest first.
    pub(crate) fn served_at(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let served = move |version: &&Version| version.sunset_at.is_none_or(|at| at > now);
        self.served.iter().filter(served).map(|version| version.name.as_str())
    }

    /// The version asked for beside the URL: `Accept-Version`, `X-API-Version`, `?api_version=`.
    pub(crate) fn asked(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Option<usize>, VersionFault> {
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

    fn parse(&self, name: &str) -> Result<usize, VersionFault> {
        if !is_version(name) {
            return Err(VersionFault::Invalid);
        }
        self.find(name).ok_or(VersionFault::Unsupported)
    }

    /// `GET /api/versions`.
    pub fn document(&self, now: Timestamp) -> Value {
        let status = |version: &Version| match (version.sunset_at, version.deprecated_at) {
            (Some(at), _) if at <= now => "sunset",
            (_, Some(at)) if at <= now => "deprecated",
            _ => "supported",
        };
        let with = |word: &str| -> Vec<&str> {
            self.served.iter().filter(|version| status(version) == word).map(|version| version.name.as_str()).collect()
        };
        let details: Map<String, Value> = self
            .served
            .iter()
            .map(|version| {
                let detail = json!({
                    "version": version.name,
                    "status": status(version),
                    "releaseDate": version.released_at.map(rfc3339_millis),
                    "deprecationDate": version.deprecated_at.map(rfc3339_millis),
                    "sunsetDate": version.sunset_at.map(rfc3339_millis),
                    "documentation": version.documentation,
                });
                (version.name.clone(), detail)
            })
            .collect();
        json!({
            "current": self.get(self.default_index()).name,
            "supported": self.served_at(now).collect::<Vec<_>>(),
            "deprecated": with("deprecated"),
            "sunset": with("sunset"),
            "details": details,
        })
    }
}

/// Splits a normalised path.
pub(crate) fn split(path: &str) -> ApiPath<'_> {
    let Some(rest) = path.strip_prefix("/api/") else { return ApiPath::Other };
    let (segment, _) = rest.split_once('/').unwrap_or((rest, ""));
    if is_version(segment) {
        ApiPath::Versioned { version: segment }
    } else if looks_like_version(segment) {
        ApiPath::Invalid
    } else {
        ApiPath::Alias { rest }
    }
}

/// `v[1-9][0-9]{0,2}`.
fn is_version(text: &str) -> bool {
    match text.as_bytes() {
        [b'v', b'1'..=b'9', rest @ ..] => rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// A `v` and digits, in any case and number: somebody meant a version.
fn looks_like_version(text: &str) -> bool {
    match text.as_bytes() {
        [b'v' | b'V', rest @ ..] => !rest.is_empty() && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// The first value of a query parameter, decoded.
pub(crate) fn query_value(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
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
        assert_eq!(split("/api/v1/users"), ApiPath::Versioned { version: "v1" });
        assert_eq!(split("/api/v999/users"), ApiPath::Versioned { version: "v999" });
        for invalid in ["/api/v0/x", "/api/V1/x", "/api/v01/x", "/api/v1000/x", "/api/v0"] {
            assert_eq!(split(invalid), ApiPath::Invalid, "{invalid}");
        }
    }

    #[test]
    fn the_header_comes_before_the_other_header_and_the_query() {
        let versions = Versions::new(vec![Version::current("v1"), Version::current("v2")]);
        let mut headers = HeaderMap::new();
        assert_eq!(versions.asked(&headers, Some("api_version=v2")), Ok(Some(1)));
        headers.insert("x-api-version", HeaderValue::from_static("v1"));
        assert_eq!(versions.asked(&headers, Some("api_version=v2")), Ok(Some(0)));
        headers.insert("accept-version", HeaderValue::from_static("v9"));
        assert_eq!(versions.asked(&headers, None), Err(VersionFault::Unsupported));
        for invalid in ["", "1", "V1", "v0", "v1000", "../", "v1 "] {
            headers.insert("accept-version", HeaderValue::from_str(invalid).expect("a value"));
            assert_eq!(versions.asked(&headers, None), Err(VersionFault::Invalid), "{invalid:?}");
        }
    }

    #[test]
    fn the_document_names_the_stage_of_each_version() {
        let now = Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        let past = Some(Timestamp::UNIX_EPOCH);
        let old = Version { deprecated_at: past, successor: Some("v2".to_owned()), ..Version::current("v1") };
        let document = Versions::new(vec![old, Version::current("v2")]).document(now);
        assert_eq!(document["deprecated"], json!(["v1"]));
        assert_eq!(document["supported"], json!(["v1", "v2"]));
        assert_eq!(document["details"]["v2"]["status"], "supported");
    }
}

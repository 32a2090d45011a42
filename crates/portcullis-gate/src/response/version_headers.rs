//! The headers that name the version of the API and its life cycle.

use http::header::{HeaderMap, HeaderName, HeaderValue, LINK};

use crate::routes::versions::Version;

const API_VERSION: HeaderName = HeaderName::from_static("x-api-version");
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// Adds `X-API-Version`, and for a version that ends `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and its successor.
pub(crate) fn add_headers(headers: &mut HeaderMap, version: &Version) {
    // The most common version needs no allocation.
    let name =
        if version.name == "v1" { Ok(HeaderValue::from_static("v1")) } else { HeaderValue::from_str(&version.name) };
    headers.insert(API_VERSION, name.expect("a version's name is a v and digits"));
    if let Some(at) = version.deprecated_at {
        let value = format!("@{}", at.timestamp());
        headers.insert(DEPRECATION, HeaderValue::from_str(&value).expect("an @ and digits"));
        if let Some(successor) = &version.successor {
            let link = format!("</api/{successor}>; rel=\"successor-version\"");
            headers.append(LINK, HeaderValue::from_str(&link).expect("a version's name is a v and digits"));
        }
    }
    if let Some(at) = version.sunset_at {
        let date = at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        headers.insert(SUNSET, HeaderValue::from_str(&date).expect("an HTTP date is ASCII"));
    }
}

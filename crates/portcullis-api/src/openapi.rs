//! What the built-in API is, for programs (OpenAPI 3.1) and for people (a page).
//!
//! Paths, methods, who may call and the statuses of the gate come from the table of endpoints; what only a handler
//! knows stands in `operations.json`, an entry for each endpoint, which a test holds against the table.

mod document;
mod page;

use std::sync::LazyLock;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderValue, IF_NONE_MATCH};
use portcullis_model::secret::sha256;

use crate::{Call, Fault, Reply};

/// A text that is made once, and its name for caches.
struct Made {
    text: String,
    tag: HeaderValue,
}

impl Made {
    fn new(text: String) -> Self {
        let tag = format!("\"{}\"", hex::encode(&sha256(text.as_bytes())[..16]));
        Self { text, tag: HeaderValue::try_from(tag).expect("quotes and hexadecimal digits") }
    }

    fn reply(&self, call: &Call, kind: &'static str) -> Reply {
        let known = call.headers.get(IF_NONE_MATCH).is_some_and(|known| *known == self.tag);
        let reply = if known { Reply::not_modified() } else { Reply::bare(kind, self.text.clone()) };
        reply.header(ETAG, self.tag.clone()).header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }
}

static DOCUMENT: LazyLock<Made> = LazyLock::new(|| {
    Made::new(serde_json::to_string_pretty(&document::document()).expect("values have text keys") + "\n")
});
static PAGE: LazyLock<Made> = LazyLock::new(|| Made::new(page::page(&document::document())));

/// `GET /api/v1/docs.json`
pub(crate) async fn json(call: Call) -> Result<Reply, Fault> {
    Ok(DOCUMENT.reply(&call, "application/json"))
}

/// `GET /api/v1/docs`: without scripts and without another host.
pub(crate) async fn html(call: Call) -> Result<Reply, Fault> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    let reply = PAGE.reply(&call, "text/html; charset=utf-8");
    Ok(reply.header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)))
}

/// The description as the running program gives it.
pub fn openapi_json() -> &'static str {
    &DOCUMENT.text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_file_in_the_repository_is_what_the_program_gives() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, openapi_json()).expect("can be written");
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == openapi_json(), "docs/openapi.json is not up to date: UPDATE_DOCS=1 writes it anew");
    }

    #[test]
    fn the_page_names_every_operation_and_no_other_host() {
        for operation in document::document()["paths"].as_object().expect("paths").values() {
            for described in operation.as_object().expect("operations").values() {
                if let Some(summary) = described["summary"].as_str() {
                    assert!(PAGE.text.contains(&page::escaped(summary)), "{summary}");
                }
            }
        }
        for outside in ["<script", "src=", "@import", "url(", "http://", "href=\"http"] {
            assert!(!PAGE.text.contains(outside), "{outside}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, root: &Value, count: &mut usize) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(target)) = members.get("$ref") {
                        assert!(root.pointer(&target[1..]).is_some(), "{target}");
                        *count += 1;
                    }
                    members.values().for_each(|member| walk(member, root, count));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, root, count)),
                _ => {}
            }
        }
        let document = document::document();
        let mut count = 0;
        walk(&document, &document, &mut count);
        assert!(count > 300, "{count} references");
    }
}

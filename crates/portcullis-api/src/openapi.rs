//! The description of the built-in API, for programs (OpenAPI 3.1) and for users (a page).
//!
//! Paths, methods, access and the refusals of the gate come from the table of endpoints, schemas from the types in its
//! rows, prose from the [`Operation`] beside each handler.

mod document;
mod page;
mod responses;

use std::sync::LazyLock;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderValue, IF_NONE_MATCH};
use portcullis_model::secret::sha256;
use schemars::SchemaGenerator;
use serde_json::{Value, json};

use crate::operation::{Operation, OtherResponse, Output, Tag, bare};
use crate::{ApiError, Call, Reply};

pub(crate) const JSON: Operation =
    Operation::new("openapi", Tag::System, "This description, for programs (OpenAPI 3.1)", "")
        .others(&[OtherResponse::NotModified]);

pub(crate) const PAGE: Operation =
    Operation::new("docs", Tag::System, "This description as a page", "").others(&[OtherResponse::NotModified]);

/// The OpenAPI document.
pub(crate) struct Document;

impl Output for Document {
    fn describe(_operation: &Operation, _schemas: &mut SchemaGenerator) -> Value {
        bare(&[("application/json", json!({ "openapi": "3.1.0" }))])
    }
}

/// The page.
pub(crate) struct Page;

impl Output for Page {
    fn describe(_operation: &Operation, _schemas: &mut SchemaGenerator) -> Value {
        bare(&[("text/html", json!("<!doctype html>"))])
    }
}

/// A text that is rendered once, and its entity tag.
struct Rendered {
    text: String,
    tag: HeaderValue,
}

impl Rendered {
    fn new(text: String) -> Self {
        let tag = format!("\"{}\"", hex::encode(&sha256(text.as_bytes())[..16]));
        Self { text, tag: HeaderValue::try_from(tag).expect("quotes and hexadecimal digits") }
    }

    fn reply<T>(&self, call: &Call, content_type: &'static str) -> Reply<T> {
        let current = call.headers.get(IF_NONE_MATCH).is_some_and(|known| *known == self.tag);
        let reply = if current { Reply::not_modified() } else { Reply::bare(content_type, self.text.clone()) };
        reply.header(ETAG, self.tag.clone()).header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }
}

static RENDERED_DOCUMENT: LazyLock<Rendered> = LazyLock::new(|| {
    Rendered::new(serde_json::to_string_pretty(&document::document()).expect("values have text keys") + "\n")
});
static RENDERED_PAGE: LazyLock<Rendered> = LazyLock::new(|| Rendered::new(page::page(&document::document())));

/// `GET /api/v1/docs.json`
pub(crate) async fn json(call: Call) -> Result<Reply<Document>, ApiError> {
    Ok(RENDERED_DOCUMENT.reply(&call, "application/json"))
}

/// `GET /api/v1/docs`: a page without scripts and without requests to another host.
pub(crate) async fn html(call: Call) -> Result<Reply<Page>, ApiError> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    let reply = RENDERED_PAGE.reply(&call, "text/html; charset=utf-8");
    Ok(reply.header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)))
}

/// Returns the OpenAPI document as the running program serves it.
pub fn openapi_json() -> &'static str {
    &RENDERED_DOCUMENT.text
}

#[cfg(test)]
mod tests;

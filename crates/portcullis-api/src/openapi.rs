//! The description of the built-in API, for programs (OpenAPI 3.1) and for users (a page).
//!
//! Paths, methods, access and the refusals of the gate come from the table of endpoints, schemas from the types in its
//! rows, prose from the [`Operation`] beside each handler.

mod document;
mod page;
mod responses;

use std::sync::OnceLock;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderValue, IF_NONE_MATCH};
use portcullis_model::secret::sha256;
use schemars::SchemaGenerator;
use serde_json::{Value, json};

use crate::endpoint::row::Endpoint;
use crate::operation::{Operation, OtherResponse, Output, Tag, without_envelope};
use crate::{ApiError, Call, Reply};

pub(crate) const JSON: Operation =
    Operation::new("openapi", Tag::System, "This description, for programs (OpenAPI 3.1)", "")
        .others(&[OtherResponse::NotModified]);

pub(crate) const PAGE: Operation =
    Operation::new("docs", Tag::System, "This description as a page", "").others(&[OtherResponse::NotModified]);

pub(crate) struct Document;

impl Output for Document {
    fn describe(_operation: &Operation, _schemas: &mut SchemaGenerator) -> Value {
        without_envelope(&[("application/json", json!({ "openapi": "3.1.0" }))])
    }
}

pub(crate) struct Page;

impl Output for Page {
    fn describe(_operation: &Operation, _schemas: &mut SchemaGenerator) -> Value {
        without_envelope(&[("text/html", json!("<!doctype html>"))])
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
        let reply =
            if current { Reply::not_modified() } else { Reply::without_envelope(content_type, self.text.clone()) };
        reply.header(ETAG, self.tag.clone()).header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }
}

/// The description of the API as the running program serves it. Each form is rendered when it is first asked for.
pub struct ApiDescription {
    endpoints: &'static [Endpoint],
    document: OnceLock<Rendered>,
    page: OnceLock<Rendered>,
}

impl ApiDescription {
    pub(crate) const fn new(endpoints: &'static [Endpoint]) -> Self {
        Self { endpoints, document: OnceLock::new(), page: OnceLock::new() }
    }

    /// Returns the OpenAPI document.
    pub fn json(&self) -> &str {
        &self.document().text
    }

    fn document(&self) -> &Rendered {
        self.document.get_or_init(|| {
            let document = document::document(self.endpoints);
            Rendered::new(serde_json::to_string_pretty(&document).expect("values have text keys") + "\n")
        })
    }

    fn page(&self) -> &Rendered {
        self.page.get_or_init(|| Rendered::new(page::page(&document::document(self.endpoints))))
    }
}

/// `GET /api/v1/docs.json`
pub(crate) async fn json(call: Call) -> Result<Reply<Document>, ApiError> {
    Ok(call.services.description.document().reply(&call, "application/json"))
}

/// `GET /api/v1/docs`: a page without scripts and without requests to another host.
pub(crate) async fn html(call: Call) -> Result<Reply<Page>, ApiError> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    let reply = call.services.description.page().reply(&call, "text/html; charset=utf-8");
    Ok(reply.header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)))
}

#[cfg(test)]
mod tests;

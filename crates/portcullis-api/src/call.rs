//! One request to a built-in endpoint, as its handler sees it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use portcullis_gate::{InboundBody, Permit, Principal};
use portcullis_identity::Caller;
use portcullis_storage::OnceKey;

use crate::body::JsonObject;
use crate::cookies::CookieShape;
use crate::{Fault, Services};

/// A permitted request. Only the gate makes the [`Permit`] inside, so no handler
/// can be called around it.
pub struct Call {
    pub(crate) services: Arc<Services>,
    pub(crate) permit: Permit,
    pub(crate) headers: HeaderMap,
    body: InboundBody,
    once: Option<OnceKey>,
}

impl Call {
    pub(crate) fn new(services: Arc<Services>, permit: Permit, request: Request<InboundBody>) -> Self {
        let (parts, body) = request.into_parts();
        Self { services, permit, headers: parts.headers, body, once: None }
    }

    /// Takes the JSON object out of the body.
    pub(crate) async fn json(&mut self) -> Result<JsonObject, Fault> {
        JsonObject::read(&self.headers, std::mem::take(&mut self.body)).await
    }

    /// Takes the JSON object out of the body; none at all is an empty one.
    pub(crate) async fn optional_json(&mut self) -> Result<JsonObject, Fault> {
        JsonObject::read_optional(&self.headers, std::mem::take(&mut self.body)).await
    }

    /// The client's name for the request, on an endpoint that does a thing once.
    pub(crate) fn once(&self) -> Option<&OnceKey> {
        self.once.as_ref()
    }

    /// Notes that the request is to be done once.
    pub(crate) fn set_once(&mut self, key: OnceKey) {
        self.once = Some(key);
    }

    /// Reads the body to its end, and leaves it to be read again.
    pub(crate) async fn gather(&mut self) -> Result<Bytes, Fault> {
        let bytes = std::mem::take(&mut self.body).collect().await.map_err(Fault::from_body)?.to_bytes();
        self.body = InboundBody::gathered(bytes.clone());
        Ok(bytes)
    }

    /// Who calls, on a route that requires somebody.
    pub(crate) fn principal(&self) -> &Principal {
        self.permit.principal().expect("the gate lets nobody without a session onto a route with auth = required")
    }

    /// Where the call comes from, for the audit log and the list of sessions.
    pub(crate) fn caller(&self) -> Caller {
        let user_agent = self.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Caller { ip: Some(self.permit.client_ip()), user_agent, request_id: Some(self.permit.request_id().to_string()) }
    }

    /// Whether the request comes from a page of ours or of an allowed origin.
    pub(crate) fn origin_allowed(&self) -> bool {
        self.permit.origin_allowed(&self.headers)
    }

    pub(crate) fn cookies(&self) -> CookieShape {
        CookieShape::of(self.services.environment)
    }
}

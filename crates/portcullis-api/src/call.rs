//! One request to a built-in endpoint, as its handler sees it.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::USER_AGENT;
use http_body_util::BodyExt;
use portcullis_gate::{InboundBody, Permit};
use portcullis_identity::{Actor, Caller};
use portcullis_model::SessionState;
use portcullis_storage::IdempotencyKey;

use crate::cookies::CookieShape;
use crate::{ApiError, Services};

/// A permitted request. Only the gate makes the [`Permit`] inside, so no handler can run without the gate's consent.
pub struct Call {
    pub(crate) services: Arc<Services>,
    pub(crate) permit: Permit,
    pub(crate) headers: HeaderMap,
    body: InboundBody,
    idempotency_key: Option<IdempotencyKey>,
}

impl Call {
    pub(crate) fn new(services: Arc<Services>, permit: Permit, headers: HeaderMap, body: InboundBody) -> Self {
        Self { services, permit, headers, body, idempotency_key: None }
    }

    /// The client's own name for the request, on an endpoint that honours `Idempotency-Key`.
    pub(crate) fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.idempotency_key.as_ref()
    }

    pub(crate) fn set_idempotency_key(&mut self, key: IdempotencyKey) {
        self.idempotency_key = Some(key);
    }

    /// Reads the body to its end and keeps it, so that it can be read again.
    pub(crate) async fn gather(&mut self) -> Result<Bytes, ApiError> {
        let bytes = std::mem::take(&mut self.body).collect().await?.to_bytes();
        self.body = InboundBody::from_bytes(bytes.clone());
        Ok(bytes)
    }

    /// The session of the principal, on a route that requires a credential.
    pub(crate) fn session(&self) -> &Arc<SessionState> {
        let principal = self.permit.principal();
        &principal.expect("the gate refuses requests without a principal on a route that requires one").session
    }

    /// The principal as the use cases of user administration take it.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Session(Arc::clone(self.session()))
    }

    /// Where the call comes from, for the audit log and the list of sessions.
    pub(crate) fn caller(&self) -> Caller {
        let user_agent =
            self.headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Caller { ip: Some(self.permit.client_ip()), user_agent, request_id: Some(self.permit.request_id().to_string()) }
    }

    /// Whether the request comes from a page of this site or of an allowed origin.
    pub(crate) fn origin_allowed(&self) -> bool {
        self.permit.origin_allowed(&self.headers)
    }

    pub(crate) fn cookies(&self) -> CookieShape {
        CookieShape::of(self.services.environment)
    }
}

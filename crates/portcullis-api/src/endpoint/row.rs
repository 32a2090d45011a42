//! The form of a row in the table of endpoints.

use std::pin::Pin;
use std::time::Duration;

use http::Method;
use portcullis_model::permission::BuiltInPermission;
use portcullis_model::policy::{AuthRequirement, BodyLimit, CsrfPolicy, LimitClass, MethodPermissions, RoutePolicy};
use schemars::SchemaGenerator;
use serde_json::Value;

use crate::input::InputDescription;
use crate::operation::Operation;
use crate::reply::RawReply;
use crate::{ApiError, Call};

/// The largest body that a built-in endpoint reads, in bytes.
const MAX_BODY: u64 = 1 << 20;
/// The longest time that a built-in endpoint may take to respond.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// What a handler returns once its types are no longer needed.
pub(crate) type ResponseFuture = Pin<Box<dyn Future<Output = Result<RawReply, ApiError>> + Send>>;

/// One built-in endpoint.
pub struct Endpoint {
    /// The method it answers; an endpoint for `GET` answers `HEAD`, too.
    pub method: Method,
    /// Its canonical path, as the route label of metrics shows it.
    pub template: &'static str,
    pub(crate) access: Access,
    pub(crate) csrf: CsrfPolicy,
    pub(crate) limit: LimitClass,
    /// Whether it honours an `Idempotency-Key`: the handler gives [`Call::idempotency_key`] to its use case.
    pub(crate) idempotent: bool,
    pub(crate) operation: &'static Operation,
    pub(crate) describe_input: fn(&mut InputDescription<'_>),
    pub(crate) describe_output: fn(&Operation, &mut SchemaGenerator) -> Value,
    pub(super) handler: fn(Call) -> ResponseFuture,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, with or without a credential.
    Anyone,
    /// A signed-in user or an API key.
    Authenticated,
    /// A signed-in user; no API key.
    SignedIn,
    /// A signed-in user or an API key that holds the permission.
    Holding(BuiltInPermission),
}

impl Endpoint {
    /// Whether it answers requests without a credential.
    pub fn is_open(&self) -> bool {
        self.access == Access::Anyone
    }

    /// Whether it refuses API keys.
    pub fn is_for_signed_in_users(&self) -> bool {
        self.access == Access::SignedIn
    }

    /// The permission that it needs, if it needs one.
    pub fn permission(&self) -> Option<BuiltInPermission> {
        match self.access {
            Access::Holding(permission) => Some(permission),
            Access::Anyone | Access::Authenticated | Access::SignedIn => None,
        }
    }

    /// Whether it is served under a version past its sunset: health, metrics, and what leads to a version that is served.
    fn outlives_versions(&self) -> bool {
        self.limit == LimitClass::Exempt || matches!(self.template, "/api/v1/versions" | "/api/v1/csrf-token")
    }

    /// The policy by which the gate lets requests through to it.
    pub(super) fn policy(&self) -> RoutePolicy {
        let auth = if self.access == Access::Anyone { AuthRequirement::None } else { AuthRequirement::Required };
        RoutePolicy {
            signed_in_only: self.access == Access::SignedIn,
            permissions: MethodPermissions {
                always: self.permission().into_iter().map(Into::into).collect(),
                ..MethodPermissions::default()
            },
            csrf: self.csrf,
            limit_class: self.limit,
            outlives_versions: self.outlives_versions(),
            max_body: BodyLimit::Bytes(MAX_BODY),
            timeout: TIMEOUT,
            ..RoutePolicy::requiring(auth)
        }
    }
}

/// Writes a row. The compiler holds the handler's signature against the types that the row names.
macro_rules! endpoint {
    (idempotent $($row:tt)*) => {
        endpoint!(@ true; $($row)*)
    };
    (@ $idempotent:literal; $method:ident $template:literal, $access:expr, $csrf:ident, $limit:ident,
        $operation:path => $output:ty, $handler:path) => {
        endpoint!(@@ $idempotent, $method, $template, $access, $csrf, $limit, $operation, (), $output, |call| {
            Box::pin(async move { $handler(call).await.map($crate::Reply::<$output>::into_raw) })
        })
    };
    (@ $idempotent:literal; $method:ident $template:literal, $access:expr, $csrf:ident, $limit:ident,
        $operation:path: $input:ty => $output:ty, $handler:path) => {
        endpoint!(@@ $idempotent, $method, $template, $access, $csrf, $limit, $operation, $input, $output, |mut call| {
            Box::pin(async move {
                let input = <$input as $crate::input::Input>::read(&mut call).await?;
                $handler(call, input).await.map($crate::Reply::<$output>::into_raw)
            })
        })
    };
    (@@ $idempotent:literal, $method:ident, $template:literal, $access:expr, $csrf:ident, $limit:ident,
        $operation:path, $input:ty, $output:ty, $run:expr) => {
        $crate::endpoint::Endpoint {
            method: http::Method::$method,
            template: $template,
            access: $access,
            csrf: portcullis_model::policy::CsrfPolicy::$csrf,
            limit: portcullis_model::policy::LimitClass::$limit,
            idempotent: $idempotent,
            operation: &$operation,
            describe_input: <$input as $crate::input::Input>::describe,
            describe_output: <$output as $crate::operation::Output>::describe,
            handler: $run,
        }
    };
    ($($row:tt)*) => {
        endpoint!(@ false; $($row)*)
    };
}

pub(super) use endpoint;

//! The first administrator, made in a browser (SR-45).
//!
//! The link's token travels in the fragment, which browsers send to no server; the page posts it with the form.

use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS};
use portcullis_model::{SecretString, User};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use crate::auth::registration::{RegisterRequest, registration_request};
use crate::auth::tokens::Tokens;
use crate::input::Body;
use crate::operation::{Example, Operation, Output, Tag, without_envelope};
use crate::{ApiError, Call, Reply};

pub(crate) const PAGE: Operation =
    Operation::new("setupPage", Tag::Setup, "The page on which to create the first administrator", "");

pub(crate) const FIRST_ADMINISTRATOR: Operation = Operation::new(
    "firstAdministrator",
    Tag::Setup,
    "Create the first administrator",
    "Administrator created successfully",
)
.created()
.errors(&[(409, "An administrator exists already, or the link is not valid.")]);

const FORM: &str = include_str!("setup/page.html");
const SCRIPT: &str = include_str!("setup/page.js");

/// The page with the form.
pub(crate) struct Page;

impl Output for Page {
    fn describe(_operation: &Operation, _schemas: &mut SchemaGenerator) -> Value {
        without_envelope(&[("text/html", json!("<!doctype html>"))])
    }
}

registration_request! {
    /// The first administrator's account, and the token of the link.
    FirstAdministratorRequest {
        /// The token of the link that the first start prints.
        #[schemars(with = "String")]
        token: SecretString,
    }
}

impl Example for FirstAdministratorRequest {
    fn example() -> Value {
        let mut request = RegisterRequest::example();
        request["token"] = json!("b25lLXRpbWUtdG9rZW4");
        request
    }
}

/// The new administrator.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FirstAdministrator {
    user: User,
    tokens: Option<Tokens>,
}

impl Example for FirstAdministrator {
    fn example() -> Value {
        let mut user = User::example();
        user["role"] = json!("ADMIN");
        json!({ "user": user, "tokens": Tokens::example() })
    }
}

/// `GET /setup`: the form. It does not tell whether an administrator exists.
pub(crate) async fn page(_call: Call) -> Result<Reply<Page>, ApiError> {
    let hash = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(portcullis_model::secret::sha256(SCRIPT.as_bytes()))
    };
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{hash}'; style-src 'unsafe-inline'; connect-src 'self'; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    let page = FORM.replace("{{script}}", SCRIPT);
    Ok(Reply::without_envelope("text/html; charset=utf-8", page)
        .header(CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).expect("a base64 hash is plain ASCII"))
        .header(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .header(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))
        .private())
}

/// `POST /api/v1/auth/first-administrator`: the link works once.
pub(crate) async fn first_administrator(
    call: Call,
    Body(request): Body<FirstAdministratorRequest>,
) -> Result<Reply<FirstAdministrator>, ApiError> {
    let ((token,), input) = request.into_parts();
    let registered =
        call.services.identity.registration.claim_first_administrator(token.expose(), input, &call.caller()).await?;
    let tokens = registered.tokens.as_ref().map(Tokens::in_body);
    Ok(FIRST_ADMINISTRATOR.reply(&FirstAdministrator { user: registered.user, tokens }).private())
}

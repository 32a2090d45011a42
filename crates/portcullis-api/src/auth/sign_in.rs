//! Sign-in with a password.

use portcullis_gate::CookieName;
use portcullis_identity::{LoginInput, LoginOutcome};
use portcullis_model::{SecretString, Transport, User};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cookies;
use super::tokens::Tokens;
use crate::error::ErrorKind;
use crate::input::Body;
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const LOGIN: Operation = Operation::new("login", Tag::Auth, "Sign in", "Login successful").errors(&[
    (401, "`Invalid credentials`, whichever of the two is wrong."),
    (403, "The e-mail address must be confirmed first; or a sign-in by cookie from another site."),
]);

/// A sign-in.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoginRequest {
    email: String,
    #[schemars(with = "String", extend("format" = "password"))]
    password: SecretString,
    /// Keeps the session for 90 days at most instead of 30.
    remember_me: Option<bool>,
    /// Where the tokens go; `token` is the default.
    transport: Option<Transport>,
}

impl Example for LoginRequest {
    fn example() -> Value {
        json!({ "email": "ada@example.com", "password": "correct horse battery staple" })
    }
}

/// A user who has signed in.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SignedIn {
    user: User,
    tokens: Tokens,
}

impl Example for SignedIn {
    fn example() -> Value {
        json!({ "user": User::example(), "tokens": Tokens::example() })
    }
}

/// `POST /api/v1/auth/login`
pub(crate) async fn login(call: Call, Body(request): Body<LoginRequest>) -> Result<Reply<SignedIn>, ApiError> {
    let LoginRequest { email, password, remember_me, transport } = request;
    let transport = transport.unwrap_or_default();
    let by_cookie = transport == Transport::Cookie;
    if by_cookie && !call.origin_allowed() {
        return Err(ErrorKind::CROSS_SITE.into());
    }
    let input = LoginInput { email, password, remember_me: remember_me.unwrap_or_default(), transport };
    let LoginOutcome::Complete(sign_in) = call.services.identity.sign_in.login(input, &call.caller()).await?;
    let (user, tokens) = (sign_in.user, &sign_in.tokens);
    if !by_cookie {
        return Ok(LOGIN.reply(&SignedIn { user, tokens: Tokens::in_body(tokens) }).private());
    }
    let reply = LOGIN.reply(&SignedIn { user, tokens: Tokens::in_cookies(tokens) });
    // SR-25: the sign-in ends the pre-session and its CSRF token.
    let reply = cookies::set_session(&call, reply, tokens);
    Ok(cookies::clear(&call, reply, &[CookieName::Csrf, CookieName::Pre]).private())
}

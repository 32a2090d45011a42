//! Signing in and out (contract §3).

use http::{HeaderValue, StatusCode};
use portcullis_gate::CookieName;
use portcullis_identity::{IssuedTokens, LoginInput, LoginOutcome, Logout, RegisterInput, RegisterOutcome};
use portcullis_model::SecretString;
use portcullis_model::session::Transport;
use serde_json::{Value, json};

use crate::body::{JsonObject, is_json};
use crate::{Call, Fault, Reply};

/// `POST /api/v1/auth/register`
pub(crate) async fn register(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let input = register_input(&mut body);
    body.finish()?;
    let outcome = call.services.identity.register(input, &call.caller()).await?;
    let RegisterOutcome::Registered(registered) = outcome else {
        let data = json!({ "requiresEmailVerification": true });
        return Ok(Reply::enveloped(StatusCode::ACCEPTED, "Registration received. Check your email.", data));
    };
    let data = json!({
        "user": registered.user,
        "tokens": registered.tokens.as_ref().map(tokens_json),
        "requiresEmailVerification": registered.requires_email_verification,
    });
    Ok(Reply::created("User registered successfully", data).private())
}

/// The members that registration and the first administrator's form share.
pub(crate) fn register_input(body: &mut JsonObject) -> RegisterInput {
    RegisterInput {
        email: body.text("email"),
        username: body.text("username"),
        first_name: body.text("firstName"),
        last_name: body.text("lastName"),
        password: SecretString::new(body.text("password")),
        confirm_password: SecretString::new(body.text("confirmPassword")),
    }
}

/// `POST /api/v1/auth/login`
pub(crate) async fn login(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let email = body.text("email");
    let password = SecretString::new(body.text("password"));
    let remember_me = body.flag("rememberMe");
    let transport = transport(&mut body);
    body.finish()?;
    if transport == Transport::Cookie && !call.origin_allowed() {
        return Err(Fault::cross_site());
    }
    let input = LoginInput { email, password, remember_me, by_cookie: transport == Transport::Cookie };
    let LoginOutcome::Complete(sign_in) = call.services.identity.login(input, &call.caller()).await?;
    let data = |tokens: Value| json!({ "user": sign_in.user, "tokens": tokens });
    let reply = match transport {
        Transport::Token => Reply::ok("Login successful", data(tokens_json(&sign_in.tokens))),
        Transport::Cookie => {
            let reply = Reply::ok("Login successful", data(cookie_tokens_json(&sign_in.tokens)));
            // Requirement 25: the pre-session and its token are of no use after the sign-in.
            let reply = set_session_cookies(&call, reply, &sign_in.tokens);
            clear_cookies(&call, reply, &[CookieName::Csrf, CookieName::Pre])
        }
    };
    Ok(reply.private())
}

/// `POST /api/v1/auth/refresh`
pub(crate) async fn refresh(mut call: Call) -> Result<Reply, Fault> {
    let cookie = call.permit.refresh_cookie().map(SecretString::new);
    if cookie.is_some() && !is_json(&call.headers) {
        return Err(Fault::unsupported_media_type());
    }
    let mut body = call.json().await?;
    let presented = body.optional_text("refreshToken").map(SecretString::new);
    if presented.is_none() && cookie.is_none() {
        body.problem("refreshToken is required");
    }
    body.finish()?;
    if let Some(presented) = presented {
        let tokens = call.services.identity.refresh(presented.expose(), &call.caller()).await?;
        return Ok(Reply::ok("Token refreshed successfully", json!({ "tokens": tokens_json(&tokens) })).private());
    }
    if !call.origin_allowed() {
        return Err(Fault::cross_site());
    }
    let presented = cookie.expect("without a token in the body there is one in the cookie");
    let tokens = call.services.identity.refresh(presented.expose(), &call.caller()).await?;
    let reply = Reply::ok("Token refreshed successfully", json!({ "tokens": cookie_tokens_json(&tokens) }));
    Ok(set_session_cookies(&call, reply, &tokens).private())
}

/// `POST /api/v1/auth/logout`: with a valid access token, or with a valid refresh token.
pub(crate) async fn logout(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.optional_json().await?;
    let in_body = body.optional_text("refreshToken");
    let all = body.flag("all");
    body.finish()?;
    // The refresh cookie alone ends nothing: only requests that carry the session
    // cookie are held to the CSRF rules of cookie-authenticated ones.
    let refresh_token = in_body.map(SecretString::new);
    let session = call.permit.principal().map(|principal| std::sync::Arc::clone(&principal.session));
    if session.is_none() && refresh_token.is_none() {
        return Err(if call.permit.presented_credential() { Fault::invalid_token() } else { Fault::token_required() });
    }
    let logout = Logout { session, refresh_token, all };
    call.services.identity.logout(logout, &call.caller()).await?;
    let reply = Reply::ok("Logout successful", Value::Null);
    Ok(if call.permit.has_session_cookie() {
        clear_cookies(&call, reply, &[CookieName::Session, CookieName::Refresh, CookieName::Csrf, CookieName::Pre])
    } else {
        reply
    })
}

/// `POST /api/v1/auth/verify-email`
pub(crate) async fn verify_email(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let token = SecretString::new(body.text("token"));
    body.finish()?;
    call.services.identity.verify_email(token.expose(), &call.caller()).await?;
    Ok(Reply::ok("Email verified successfully", Value::Null))
}

/// How a client wants its tokens.
fn transport(body: &mut JsonObject) -> Transport {
    match body.optional_text("transport").as_deref().map(str::parse) {
        None => Transport::Token,
        Some(Ok(transport)) => transport,
        Some(Err(_)) => {
            body.problem("transport must be \"token\" or \"cookie\"");
            Transport::Token
        }
    }
}

pub(crate) fn tokens_json(tokens: &IssuedTokens) -> Value {
    json!({
        "accessToken": tokens.access.expose(),
        "refreshToken": tokens.refresh.expose(),
        "expiresIn": tokens.expires_in,
        "tokenType": "Bearer",
    })
}

/// With `transport=cookie` the page's scripts never see a token.
fn cookie_tokens_json(tokens: &IssuedTokens) -> Value {
    json!({ "expiresIn": tokens.expires_in, "tokenType": "Bearer" })
}

fn set_session_cookies(call: &Call, reply: Reply, tokens: &IssuedTokens) -> Reply {
    let lifetime = Some(tokens.refresh_expires_in);
    let set = |name: CookieName, value: &str| -> HeaderValue {
        call.cookies().set(call.services.gate.cookie_name(name), value, lifetime)
    };
    reply
        .cookie(set(CookieName::Session, tokens.access.expose()))
        .cookie(set(CookieName::Refresh, tokens.refresh.expose()))
}

fn clear_cookies(call: &Call, reply: Reply, names: &[CookieName]) -> Reply {
    names.iter().fold(reply, |reply, name| reply.cookie(call.cookies().clear(call.services.gate.cookie_name(*name))))
}

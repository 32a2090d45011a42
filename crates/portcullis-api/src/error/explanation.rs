//! What each `code` means and what to do about it, for `docs/error-codes.md` and the page `/api/docs`.

/// The explanation of a code.
#[derive(Debug)]
pub(crate) struct Explanation {
    pub(crate) code: &'static str,
    /// When the error occurs.
    pub(crate) cause: &'static str,
    /// What the developer of a client, or the operator, does about it.
    pub(crate) remedy: &'static str,
}

const fn entry(code: &'static str, cause: &'static str, remedy: &'static str) -> Explanation {
    Explanation { code, cause, remedy }
}

/// One entry for each code, in the order of `kind.rs`.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    // The request as such.
    entry(
        "request.malformed",
        "The request line, a header field, the host or the path is malformed, or two programs could read them in two ways: two \
         lengths, an encoded slash, control characters. The connection is closed.",
        "Look for a proxy or a client that writes the request by hand. `message` names the part.",
    ),
    entry(
        "request.incomplete_body",
        "The connection ended, or the chunks broke off, before the body was complete.",
        "Send the request again.",
    ),
    entry(
        "request.validation_failed",
        "A field of the body, a parameter of the query or of the path is missing, has the wrong type or breaks a rule.",
        "`details.body`, `details.query` or `details.path` has one sentence for each problem. Show them to the user or mend the \
         client.",
    ),
    entry(
        "request.malformed_json",
        "The body is not JSON, not an object, or names a member twice.",
        "`details.body` has the line and the column.",
    ),
    entry(
        "request.idempotency_key_invalid",
        "The header `Idempotency-Key` occurs twice, is empty or longer than 255 characters, or is not visible ASCII.",
        "Send one key, such as a UUID.",
    ),
    entry(
        "request.timeout",
        "The client took too long to send the head (`server.header_timeout`) or paused too long within the body \
         (`server.body_timeout`). The connection is closed.",
        "Send the request again; raise the setting if honest clients are that slow.",
    ),
    entry(
        "request.too_large",
        "The body is larger than the route or the endpoint accepts.",
        "Send less, or raise `max_body` of the route or `server.max_body`. Built-in endpoints accept 1 MB.",
    ),
    entry("request.uri_too_long", "The request target is longer than 16 KB.", "Put the data into the body."),
    entry(
        "request.unsupported_media_type",
        "The endpoint reads JSON, and the body was declared as something else.",
        "Send `Content-Type: application/json`.",
    ),
    entry(
        "request.expectation_failed",
        "The header `Expect` has another value than `100-continue`.",
        "Leave the header out.",
    ),
    entry(
        "request.idempotency_key_reused",
        "Another request of the same user or API key, with another method, path or body, had this `Idempotency-Key` within the last \
         day.",
        "Use a new key for each new request, and the same key only to repeat a request.",
    ),
    entry(
        "request.head_too_large",
        "The head is longer than 64 KB or has more than 100 fields.",
        "Usually there are too many cookies: delete those of the site.",
    ),
    // Routes and versions.
    entry(
        "route.not_found",
        "No route matches the path, or the path is another spelling of a protected one.",
        "Compare the path with `portcullis routes`. `portcullis explain GET /the/path` shows how it is read.",
    ),
    entry("route.method_not_allowed", "The path exists and does not accept the method.", "`Allow` lists its methods."),
    entry("version.invalid", "The version is not `v` and a number from 1 to 999.", "Ask for `v1`, or for no version."),
    entry(
        "version.unsupported",
        "The version is well formed and not served.",
        "`details.supportedVersions` has those that are.",
    ),
    entry(
        "version.sunset",
        "The version is past its sunset (`versions.<version>.sunset_at`).",
        "Move to `details.successor`. Responses of a deprecated version announce the date by `Sunset`.",
    ),
    // Limits and CSRF.
    entry(
        "rate.limited",
        "A rate limit is used up.",
        "Wait for `Retry-After`. `portcullis limits show` tells how much of each limit somebody has used.",
    ),
    entry(
        "csrf.invalid_token",
        "An unsafe request has no CSRF token, a wrong one, or two CSRF cookies. `details.reason` says which.",
        "Fetch `/api/csrf-token`, send the token in `X-CSRF-Token` together with the cookies, and repeat the request once. After a sign-in \
         by cookie fetch it again.",
    ),
    entry(
        "csrf.cross_site",
        "A request that is authenticated by cookie came from a page of another site, or says nothing about where it came from.",
        "Add the origin of the page to `ALLOWED_ORIGINS` if it is yours; check that `PUBLIC_URL` is the address that users type.",
    ),
    // Credentials and permissions.
    entry("auth.two_credentials", "The request carries a bearer token and an API key.", "Send one of them."),
    entry(
        "auth.token_required",
        "The route needs a credential, and the request has none.",
        "Sign in, and send the access token.",
    ),
    entry(
        "auth.invalid_token",
        "The access token or the API key is wrong or expired, or its session or its owner's right has ended.",
        "Refresh once (`POST /api/v1/auth/refresh`); if that fails, sign in again.",
    ),
    entry(
        "auth.sign_in_too_old",
        "The route asks for a recent sign-in (`max_session_age`).",
        "Have the user sign in again. `details.maxAge` is the greatest age in seconds.",
    ),
    entry(
        "auth.sign_in_required",
        "An API key was used where only a signed-in user may act.",
        "Sign in; or set `api_keys = true` on the route if it is yours.",
    ),
    entry(
        "auth.network_not_allowed",
        "The client's address is outside of the `networks` of the route.",
        "Behind a proxy, check `server.trusted_proxies`: without it the address is the proxy's.",
    ),
    entry(
        "auth.insufficient_permissions",
        "The role or the permissions of the caller do not allow the request, or the caller would grant or change more than it may.",
        "`portcullis explain METHOD PATH --as EMAIL` says which role or permission is missing.",
    ),
    entry(
        "auth.email_not_verified",
        "The e-mail address of the user, or of the owner of the API key, is not confirmed.",
        "Follow the mailed link, or ask for another one (`POST /api/v1/auth/resend-verification`). An administrator can confirm the address.",
    ),
    // Signing in and accounts.
    entry(
        "auth.invalid_credentials",
        "The address is unknown, the password is wrong, the user is disabled, or the account is closed to unknown clients after too many \
         failures. The response does not tell which.",
        "Try again, or reset the password. The audit log says why.",
    ),
    entry(
        "auth.invalid_refresh_token",
        "The refresh token was used before, has expired, or its session has ended.",
        "Sign in again. A token is good once: keep the new one from each response.",
    ),
    entry(
        "auth.invalid_verification_token",
        "The link to confirm an address was used, has expired or is incomplete.",
        "Ask for another one (`POST /api/v1/auth/resend-verification`).",
    ),
    entry(
        "auth.invalid_reset_token",
        "The link to set a password was used, has expired or is incomplete.",
        "Ask for another one (`POST /api/v1/auth/forgot-password`).",
    ),
    entry("auth.passwords_do_not_match", "The password and its confirmation differ.", "Enter both again."),
    entry(
        "auth.current_password_incorrect",
        "The current password, which a change of the password needs, is wrong.",
        "Enter it again, or reset the password by mail.",
    ),
    entry(
        "auth.user_exists",
        "The address or the username belongs to another user.",
        "Choose another one, or sign in. With `registration.reveal_existing = false` the response does not tell.",
    ),
    entry(
        "auth.registration_closed",
        "`registration.mode` is `invite` or `closed`.",
        "Ask an administrator for an invitation or an account.",
    ),
    entry(
        "auth.demo_in_production",
        "Somebody signed in with the demo account, which does not exist in production.",
        "Sign in with an account of your own.",
    ),
    entry(
        "auth.demo_read_only",
        "The demo account, which all visitors share, cannot be changed.",
        "Sign in with an account of your own.",
    ),
    entry(
        "auth.setup_unavailable",
        "The link to make the first administrator has expired, or there is an administrator.",
        "Start the gateway again for a new link, or use `portcullis users create` or `portcullis users recover-admin`.",
    ),
    entry(
        "auth.throttled",
        "Too many sign-ins of this user or this client have failed.",
        "Wait for `Retry-After`. A password reset by mail works meanwhile.",
    ),
    entry(
        "auth.too_many_at_once",
        "One address or account has more passwords checked at once than its share.",
        "Wait for `Retry-After`, and sign in less often: a session lasts for days.",
    ),
    entry(
        "user.last_administrator",
        "The change would leave nobody who can sign in as an administrator.",
        "Make another user an administrator first.",
    ),
    entry("api_key.too_many", "The user has 100 API keys.", "Revoke unused ones."),
    entry(
        "api_key.throttled",
        "The user created 200 API keys within 24 hours, revoked ones included.",
        "Wait for `Retry-After`. Use a key more than once.",
    ),
    entry(
        "resource.not_found",
        "The endpoint exists; the user, key, session or entry that the path names does not.",
        "Read the list again.",
    ),
    // The gateway and what it depends on.
    entry(
        "auth.busy",
        "The queue for hashing passwords is full.",
        "Try again after `Retry-After`. See `password_hash_queue_length` on `/metrics`; more cores sign in more users.",
    ),
    entry(
        "service.unavailable",
        "Something that the gateway depends on, usually the database, cannot be reached, or the process is starting or stopping.",
        "Try again after `Retry-After`. `/api/health/detailed` and the log say what is missing.",
    ),
    entry(
        "internal",
        "The gateway itself failed.",
        "Look for `requestId` in the log or in `portcullis errors list`, and report it.",
    ),
    entry(
        "upstream.bad_gateway",
        "The service behind the gateway could not be reached, or sent what is no valid response.",
        "`Proxy-Status` names the cause; the log line has more.",
    ),
    entry(
        "upstream.busy",
        "Every target of the upstream has as many requests or connections as it may have, and the queue is full.",
        "Try again after `Retry-After`. See the runbook of PortcullisUpstreamFull.",
    ),
    entry(
        "upstream.timeout",
        "The service behind the gateway did not take the request, or did not begin its response, within the route's `timeout`.",
        "Look at the service first; then raise `timeout`.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;
    use crate::error::ErrorKind;

    const HEAD: &str = "# Error codes\n\n\
        Every error of the gateway has a `code`, which is stable ([contract.md](contract.md#envelope-and-errors)). This page says what each\n\
        means and what to do about it. It is made from the code. A running gateway shows the same at `/api/docs`, and the member `type` of an\n\
        `application/problem+json` response (RFC 9457) is the address of the entry there. `requestId` finds the request in the log, and the\n\
        reason of a refusal in `GET /api/v1/gateway/refusals/{requestId}`.\n";

    fn page() -> String {
        let mut page = HEAD.to_owned();
        for Explanation { code, cause, remedy } in EXPLANATIONS {
            let _ = write!(page, "\n## `{code}`\n\n");
            let kinds = ErrorKind::ALL.iter().filter(|kind| kind.code == *code);
            let texts: BTreeSet<String> =
                kinds.map(|kind| format!("{} `{}`", kind.status.as_u16(), kind.error)).collect();
            let texts: Vec<String> = texts.into_iter().collect();
            let _ = write!(page, "**{}.** {cause}\n\n*What to do:* {remedy}\n", texts.join(", "));
        }
        page
    }

    #[test]
    fn every_code_has_one_explanation() {
        let explained: Vec<&str> = EXPLANATIONS.iter().map(|explanation| explanation.code).collect();
        let mut codes: Vec<&str> = Vec::new();
        for kind in ErrorKind::ALL {
            if !codes.contains(&kind.code) {
                codes.push(kind.code);
            }
        }
        assert_eq!(explained, codes);
    }

    #[test]
    fn the_page_about_error_codes_has_the_explanations() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/error-codes.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&file, page()).expect("the page can be written");
        }
        let kept = std::fs::read_to_string(&file).expect("the page exists");
        assert!(kept == page(), "docs/error-codes.md is out of date. hint: run the test with UPDATE_DOCS=1");
    }
}

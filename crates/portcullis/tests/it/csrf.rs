//! The double-submit cookie as a browser meets it, on built-in and proxied routes.

use reqwest::Method;
use serde_json::json;

use crate::client::{Answer, app, client, register, send};
use portcullis_testkit::{PASSWORD, TestApp};

const ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

struct Browser {
    session: String,
    refresh: String,
}

async fn sign_in_by_cookie(app: &TestApp, email: &str) -> (Answer, Option<Browser>) {
    let body = json!({ "email": email, "password": PASSWORD, "transport": "cookie" });
    let origin = app.url("").trim_end_matches('/').to_owned();
    let answer = send(client().post(app.url("/api/auth/login")).header("origin", origin).json(&body)).await;
    let browser = answer.cookie("portcullis-session").zip(answer.cookie("portcullis-refresh"));
    (answer, browser.map(|(session, refresh)| Browser { session, refresh }))
}

async fn csrf_pair(app: &TestApp, cookies: &str) -> (String, Answer) {
    let answer = send(client().get(app.url("/api/csrf-token")).header("cookie", cookies)).await;
    let token = answer.body["data"]["csrfToken"].as_str().expect("a token").to_owned();
    (token, answer)
}

#[tokio::test]
async fn a_page_fetches_its_token_before_it_signs_in_and_uses_it_with_a_bearer_token() {
    let app = app().start();
    let account = register(&app).await;
    let exempt = client()
        .put(app.url("/api/v1/auth/profile"))
        .bearer_auth(&account.access)
        .json(&json!({ "firstName": "Grace" }));
    assert_eq!(send(exempt).await.status, 200, "/api/auth/* is exempt for bearer tokens");
    let (token, answer) = csrf_pair(&app, "").await;
    let pre = answer.cookie("portcullis-pre").expect("a pre-session");
    assert_eq!(answer.cookie("portcullis-csrf").as_deref(), Some(token.as_str()));
    // A second tab gets the same token as long as the pair is valid.
    let jar = format!("portcullis-csrf={token}; portcullis-pre={pre}");
    assert_eq!(csrf_pair(&app, &jar).await.0, token);
    assert_ne!(csrf_pair(&app, &format!("portcullis-csrf={}; portcullis-pre={pre}", "0".repeat(129))).await.0, token);
}

#[tokio::test]
async fn cookie_sign_in_needs_our_origin_and_gives_no_token_to_scripts() {
    let app = app().start();
    let account = register(&app).await;
    let (answer, browser) = sign_in_by_cookie(&app, &account.email).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(browser.is_some());
    assert!(answer.body["data"]["tokens"]["accessToken"].is_null());
    let body = json!({ "email": account.email, "password": PASSWORD, "transport": "cookie" });
    for origin in ["https://evil.example", "null"] {
        let answer = send(client().post(app.url("/api/auth/login")).header("origin", origin).json(&body)).await;
        assert_eq!((answer.status, answer.error()), (403, "Cross-site request refused"), "{origin}");
    }
    let answer = send(client().post(app.url("/api/auth/login")).json(&body)).await;
    assert_eq!(answer.status, 403, "no Origin at all");
}

#[tokio::test]
async fn sr_27_a_request_by_cookie_needs_the_pair_and_the_site() {
    let app = app().start();
    let account = register(&app).await;
    let browser = sign_in_by_cookie(&app, &account.email).await.1.expect("signed in");
    let session = format!("portcullis-session={}", browser.session);
    let (token, _) = csrf_pair(&app, &session).await;
    let put = |headers: Vec<(&'static str, String)>| {
        let mut request = client().put(app.url("/api/v1/auth/profile")).json(&json!({ "firstName": "Grace" }));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        send(request)
    };
    let jar = format!("{session}; portcullis-csrf={token}");
    let site = (ORIGIN.0, ORIGIN.1.to_owned());
    let good = put(vec![("cookie", jar.clone()), ("x-csrf-token", token.clone()), site.clone()]).await;
    assert_eq!(good.status, 200, "{}", good.body);
    let answer = put(vec![("cookie", session.clone()), ("x-csrf-token", token.clone()), site.clone()]).await;
    assert_eq!((answer.status, answer.error()), (403, "Invalid CSRF token"), "only in the header");
    assert_eq!(answer.body["message"], "CSRF token validation failed. Please refresh and try again.");
    assert_eq!(put(vec![("cookie", jar.clone()), site.clone()]).await.status, 403, "only in the cookie");
    for bad in [String::new(), "x".repeat(50_000), format!("{token}0"), "a.b".to_owned()] {
        assert_eq!(put(vec![("cookie", jar.clone()), ("x-csrf-token", bad), site.clone()]).await.status, 403);
    }
    let doubled = format!("{jar}; portcullis-csrf={token}");
    assert_eq!(
        put(vec![("cookie", doubled), ("x-csrf-token", token.clone()), site.clone()]).await.status,
        403,
        "two cookies"
    );
    for cross in ["cross-site", "same-site"] {
        let answer =
            put(vec![("cookie", jar.clone()), ("x-csrf-token", token.clone()), (ORIGIN.0, cross.to_owned())]).await;
        assert_eq!((answer.status, answer.error()), (403, "Cross-site request refused"), "{cross}");
    }
    let answer = put(vec![("cookie", jar.clone()), ("x-csrf-token", token.clone())]).await;
    assert_eq!((answer.status, answer.error()), (403, "Cross-site request refused"), "with none of the three");
    // Somebody else's pair does not fit this session.
    let other = register(&app).await;
    let theirs = sign_in_by_cookie(&app, &other.email).await.1.expect("signed in");
    let (stolen, _) = csrf_pair(&app, &format!("portcullis-session={}", theirs.session)).await;
    let jar = format!("{session}; portcullis-csrf={stolen}");
    assert_eq!(put(vec![("cookie", jar), ("x-csrf-token", stolen), site]).await.status, 403);
}

#[tokio::test]
async fn refresh_by_cookie_needs_json_and_our_origin_and_keeps_the_csrf_token() {
    let app = app().start();
    let account = register(&app).await;
    let browser = sign_in_by_cookie(&app, &account.email).await.1.expect("signed in");
    let jar = format!("portcullis-session={}; portcullis-refresh={}", browser.session, browser.refresh);
    let (token, _) = csrf_pair(&app, &jar).await;
    let url = app.url("/api/v1/auth/refresh");
    let answer = send(client().post(&url).header("cookie", &jar).header("origin", app.url("")).body("x=1")).await;
    assert_eq!(answer.status, 415, "{}", answer.body);
    let foreign = client().post(&url).header("cookie", &jar).header("origin", "https://evil.example").json(&json!({}));
    assert_eq!(send(foreign).await.error(), "Cross-site request refused");
    let ours = client().post(&url).header("cookie", &jar).header("origin", app.url("")).json(&json!({}));
    let answer = send(ours).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let session = answer.cookie("portcullis-session").expect("a new session cookie");
    assert_ne!(session, browser.session);
    let (after, _) = csrf_pair(&app, &format!("portcullis-session={session}; portcullis-csrf={token}")).await;
    assert_eq!(after, token, "the session is the same, so its token still fits");
}

#[tokio::test]
async fn a_proxied_route_is_guarded_like_a_built_in_one() {
    let port = portcullis_testkit::free_port();
    let settings = format!(
        "[upstreams.u]\ntargets = [\"http://127.0.0.1:{port}\"]\n[[routes]]\npath = \"/api/v1/things/{{*rest}}\"\nupstream = \"u\"\n"
    );
    let app = app().settings(&settings).start();
    let account = register(&app).await;
    let things = |method: Method| client().request(method, app.url("/api/v1/things/1")).bearer_auth(&account.access);
    let answer = send(things(Method::POST)).await;
    assert_eq!((answer.status, answer.error()), (403, "Invalid CSRF token"));
    assert!(answer.body["details"]["hint"].as_str().is_some_and(|hint| hint.contains("cookie")), "{}", answer.body);
    let (token, answer) = csrf_pair(&app, "").await;
    let pre = answer.cookie("portcullis-pre").expect("a pre-session");
    let jar = format!("portcullis-csrf={token}; portcullis-pre={pre}");
    // Past the gate there is no upstream: 502 says that the gate let it through.
    let header = things(Method::POST).header("cookie", &jar).header("x-csrf-token", &token);
    assert_eq!(send(header).await.status, 502);
    let body = things(Method::POST).header("cookie", &jar).json(&json!({ "_csrf": token, "x": 1 }));
    assert_eq!(send(body).await.status, 502);
    let form = things(Method::POST)
        .header("cookie", &jar)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("x=1&_csrf={token}"));
    assert_eq!(send(form).await.status, 502);
    let query = client()
        .post(app.url(&format!("/api/v1/things/1?_csrf={token}")))
        .bearer_auth(&account.access)
        .header("cookie", &jar);
    assert_eq!(send(query).await.status, 502);
    let anonymous = client().post(app.url("/api/v1/things/1")).header("cookie", &jar).header("x-csrf-token", &token);
    assert_eq!(send(anonymous).await.error(), "Access token is required");
}

/// Everything that a page of somebody else's, or a tampered one of ours, may send, against an endpoint of our own and
/// against a service behind the gateway.
#[tokio::test]
async fn sr_25_the_same_attacks_fail_alike_on_built_in_and_proxied_routes() {
    let port = portcullis_testkit::free_port();
    let settings = format!(
        "[upstreams.u]\ntargets = [\"http://127.0.0.1:{port}\"]\n[[routes]]\npath = \"/api/v1/things/{{*rest}}\"\nupstream = \"u\"\n"
    );
    let app = app().settings(&settings).start();
    let account = register(&app).await;
    let (ada, bob) = (sign_in_by_cookie(&app, &account.email).await.1, sign_in_by_cookie(&app, &account.email).await.1);
    let (ada, bob) = (ada.expect("signed in"), bob.expect("signed in"));
    let session = |browser: &Browser| format!("portcullis-session={}", browser.session);
    let (token, _) = csrf_pair(&app, &session(&ada)).await;
    let (bobs, _) = csrf_pair(&app, &session(&bob)).await;
    let (stale, answer) = csrf_pair(&app, "").await;
    let pre = answer.cookie("portcullis-pre").expect("a pre-session");
    let forged = format!("{}.{}", "0".repeat(64), token.split('.').nth(1).expect("two parts"));
    let large = "x".repeat(1 << 20);
    let ada = session(&ada);
    for path in ["/api/v1/users", "/api/v1/things/1"] {
        let attempt = async |cookies: String, header: Option<&str>| {
            let mut request = client().post(app.url(path)).header(ORIGIN.0, ORIGIN.1).header("cookie", cookies);
            if let Some(token) = header {
                request = request.header("x-csrf-token", token);
            }
            send(request.json(&json!({}))).await
        };
        let pair = |token: &str| format!("{ada}; portcullis-csrf={token}");
        for (what, cookies, header, reason) in [
            ("forged", pair(&forged), Some(forged.as_str()), "forged"),
            ("of another session", pair(&bobs), Some(bobs.as_str()), "forged"),
            (
                "from before the sign-in",
                format!("{}; portcullis-pre={pre}", pair(&stale)),
                Some(stale.as_str()),
                "forged",
            ),
            ("swapped", pair(&token), Some(bobs.as_str()), "mismatch"),
            ("in the cookie only", pair(&token), None, "no_token"),
            ("in the header only", ada.clone(), Some(token.as_str()), "no_cookie"),
            ("empty", pair(&token), Some(""), "mismatch"),
            ("both empty", pair(""), Some(""), "forged"),
            ("two cookies", format!("{}; portcullis-csrf={bobs}", pair(&token)), Some(token.as_str()), "two_cookies"),
            ("its beginning", pair(&token[..64]), Some(&token[..64]), "forged"),
        ] {
            let answer = attempt(cookies, header).await;
            assert_eq!(
                (answer.status, answer.error()),
                (403, "Invalid CSRF token"),
                "{what} on {path}: {}",
                answer.body
            );
            assert_eq!(answer.body["details"]["reason"], reason, "{what} on {path}");
        }
        let huge = attempt(pair(&token), Some(&large)).await;
        assert_eq!(huge.status, 431, "a token of a megabyte is too large a head: {}", huge.body);
        let in_body = client().post(app.url(path)).header(ORIGIN.0, ORIGIN.1).header("cookie", pair(&token));
        let in_body = send(in_body.json(&json!({ "_csrf": large[..900_000] }))).await;
        assert_eq!((in_body.status, in_body.error()), (403, "Invalid CSRF token"), "{path}");
        let good = attempt(pair(&token), Some(&token)).await;
        assert!(
            [400, 403, 502].contains(&good.status) && good.error() != "Invalid CSRF token",
            "{path}: {}",
            good.body
        );
    }
}

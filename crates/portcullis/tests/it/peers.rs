//! Published vulnerabilities of other gateways and identity servers, tried on the whole program where no other test has
//! the case. `scripts/peers.py` lists them all with their tests.

use portcullis_testkit::{PASSWORD, TestApp};
use serde_json::{Value, json};

use crate::client::{app, client, post, raw, refused, register, register_confirmed, send};
use crate::proxied::upstream;

/// An open route and a private one to one upstream, as most gateways have.
async fn gateway() -> TestApp {
    let (upstream, _) = upstream().await;
    let settings = format!(
        "[upstreams.echo]\ntargets = [\"http://{upstream}\"]\n\n\
         [[routes]]\npath = \"/api/v1/open/{{*rest}}\"\nupstream = \"echo\"\nauth = \"none\"\ncsrf = false\n\n\
         [[routes]]\npath = \"/api/v1/private/{{*rest}}\"\nupstream = \"echo\"\nroles = [\"DEVELOPER\"]\ncsrf = false\n"
    );
    app().settings(&settings).start()
}

/// The status of a request whose bytes are sent as they stand.
fn status_of(app: &TestApp, head: &str) -> u16 {
    let response = raw(app, format!("{head}\r\nConnection: close\r\n\r\n").as_bytes());
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{head:?} was answered {response:?}"))
}

// CVE-2024-45410 (Traefik), CVE-2025-48865 (Fabio), CVE-2022-1388 (BIG-IP).
#[tokio::test]
async fn connection_takes_no_header_of_the_gateway_away() {
    let app = gateway().await;
    let account = register(&app).await;
    let named = "close, x-portcullis-user, x-portcullis-role, x-forwarded-for, x-forwarded-host, x-forwarded-proto, \
                 x-request-id, host";
    let request = client().get(app.url("/api/v1/private/x")).bearer_auth(&account.access).header("connection", named);
    let headers = &send(request).await.body["headers"];
    assert!(headers["x-portcullis-user"].as_str().is_some_and(|id| id.len() == 36), "{headers}");
    assert_eq!(
        (&headers["x-portcullis-role"], &headers["x-forwarded-for"]),
        (&json!("DEVELOPER"), &json!("127.0.0.1"))
    );
    for name in ["x-forwarded-host", "x-forwarded-proto", "x-request-id", "host"] {
        assert!(headers[name].is_string(), "{name} is missing in {headers}");
    }
}

// CVE-2025-54576, CVE-2026-41059 and CVE-2026-40575 (OAuth2 Proxy).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_path_of_a_request_chooses_its_route() {
    let app = gateway().await;
    for target in [
        "/api/v1/private/x?/api/v1/open/",
        "/api/v1/private/x?x=/api/v1/open/y",
        "/api/v1/private/x#/api/v1/open/",
        "/api/v1/private/x%23/api/v1/open/",
        "/api/v1/private/x%3F/api/v1/open/",
        "/api/v1/open/../private/x",
        "/api/v1/open/%2e%2e/private/x",
        "/api/v1/open/..%2fprivate/x",
        "/api/v1/open/..;/private/x",
        "//api/v1/private/x",
    ] {
        let status = status_of(&app, &format!("GET {target} HTTP/1.1\r\nHost: gate"));
        assert!([400, 401, 404].contains(&status), "{target} was answered {status}");
    }
    for header in ["X-Forwarded-Uri", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Envoy-Original-Path"]
    {
        let head = format!("GET /api/v1/private/x HTTP/1.1\r\nHost: gate\r\n{header}: /api/v1/open/x");
        assert_eq!(status_of(&app, &head), 401, "{header}");
    }
    assert_eq!(status_of(&app, "GET /api/v1/open/x HTTP/1.1\r\nHost: gate"), 200);
}

// CVE-2023-25725 (HAProxy): a field without a name hid those after it. CVE-2019-9900 (Envoy): NUL in a value.
#[tokio::test]
async fn a_field_without_a_name_or_with_nul_is_malformed() {
    let app = gateway().await;
    for field in [": x", " : x", "X: a\0b", "X\0: a", "X: a\rb"] {
        let head = format!("GET /api/v1/open/x HTTP/1.1\r\nHost: gate\r\n{field}\r\nX-After: 1");
        assert_eq!(status_of(&app, &head), 400, "{field:?}");
    }
}

// CVE-2023-49097 and CVE-2025-64101 (ZITADEL): the host of a request was that of the mailed link.
#[tokio::test]
async fn no_header_of_a_request_is_in_a_mailed_link() {
    let app = app().settings("[server]\npublic_url = \"https://gate.example.com\"\n").start();
    let account = register_confirmed(&app).await;
    let request = client().post(app.url("/api/v1/auth/forgot-password")).json(&json!({ "email": account.email }));
    let forged = request.header("host", "evil.example").header("x-forwarded-host", "evil.example");
    let forged =
        forged.header("forwarded", "host=evil.example;proto=http").header("origin", "https://gate.example.com");
    assert_eq!(send(forged).await.status, 200);
    let mail = app.line_with("(reset_password)");
    assert!(mail.contains(" https://gate.example.com/") && !mail.contains("evil"), "{mail}");
}

// CVE-2023-7028 (GitLab): a second address in the request received the link. CVE-2019-19844 (Django): an address that
// is equal after folding Unicode did.
#[tokio::test]
async fn a_reset_link_goes_to_the_stored_address_only() {
    let app = app().start();
    let account = register_confirmed(&app).await;
    let asked = async |email: Value| post(&app, "/api/v1/auth/forgot-password", &json!({ "email": email })).await;
    for several in [json!([account.email, "eve@evil.example"]), json!({ "0": account.email }), json!([account.email])] {
        refused(&asked(several).await, 400, "Validation failed");
    }
    for folded in [account.email.replace('s', "\u{17f}"), format!("{},eve@evil.example", account.email)] {
        let status = asked(json!(folded)).await.status;
        assert!([200, 400].contains(&status), "{folded}: {status}");
    }
    assert_eq!(asked(json!(account.email)).await.status, 200);
    let mail = app.line_with("(reset_password)");
    assert!(mail.starts_with(&format!("mail to {} ", account.email)), "{mail}");
    let token = mail.split_once('#').expect("the token is in the fragment").1;
    let changed = json!({ "token": token, "newPassword": PASSWORD, "confirmPassword": PASSWORD });
    assert_eq!(post(&app, "/api/v1/auth/reset-password", &changed).await.status, 200);
}

//! An unsafe request by cookie must come from a page of ours (docs/contract.md, "CSRF"; SR-27).

use portcullis_gate::CsrfMode;
use portcullis_model::Role;
use portcullis_model::policy::{CsrfPolicy, Environment};

use crate::client::Call;
use crate::csrf;
use crate::test_gate::{TestConfig, TestGate, route};

const ALLOWED: &str = "https://partner.example";
const EVIL: (&str, &str) = ("Origin", "https://evil.example");

/// A gate with one user signed in by the cookie `ada`.
async fn gate_with_ada(config: TestConfig) -> TestGate {
    let gate = TestGate::start(config).await;
    gate.sign_in("ada", Role::Developer);
    gate
}

/// A request by cookie with a valid CSRF pair, to which a test adds the headers that name a site.
async fn by_cookie(gate: &TestGate, target: &str) -> impl Fn(&[(&str, &str)]) -> Call {
    let token = gate.get("/api/csrf-token").cookie("portcullis-session", "ada").send().await.line("token").to_owned();
    let call = gate
        .post(target)
        .header("Cookie", &format!("portcullis-session=ada; portcullis-csrf={token}"))
        .header("X-CSRF-Token", &token);
    move |headers| headers.iter().fold(call.clone(), |call, (name, value)| call.header(name, value))
}

#[tokio::test]
async fn sr_27_our_own_and_allowed_pages_may_send_cookies() {
    let gate = gate_with_ada(TestConfig { origins: vec![ALLOWED], ..csrf::config() }).await;
    let ours = gate.origin();
    let (page, allowed_page) = (format!("{ours}/page?x"), format!("{ALLOWED}/page"));
    let send = by_cookie(&gate, "/api/private").await;
    for headers in [
        &[("Sec-Fetch-Site", "same-origin")][..],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", &ours)],
        &[("Origin", &ours), ("Sec-Fetch-Site", "same-origin")],
        &[("Referer", &page)],
        &[("Origin", ALLOWED)],
        &[("Origin", ALLOWED), ("Sec-Fetch-Site", "cross-site")],
        &[("Referer", &allowed_page)],
    ] {
        assert_eq!(send(headers).verdict().await, "permit", "{headers:?}");
    }
}

#[tokio::test]
async fn sr_27_other_sites_and_unknown_ones_may_not_send_cookies() {
    let gate = gate_with_ada(TestConfig { origins: vec![ALLOWED], ..csrf::config() }).await;
    let ours = gate.origin();
    let (page, look_alike) = (format!("{ours}/page?x"), format!("{ours}.evil.example/"));
    let send = by_cookie(&gate, "/api/private").await;
    for headers in [
        &[][..],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "Same-Origin")],
        &[("Sec-Fetch-Site", "nonsense")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", &ours)],
        &[("Sec-Fetch-Site", "same-origin"), EVIL],
        &[("Origin", "null")],
        &[("Origin", "")],
        &[EVIL, ("Referer", &page)],
        &[("Origin", &look_alike)],
        &[("Origin", &ours), EVIL],
        &[("Origin", "https://partner.example.evil"), ("Sec-Fetch-Site", "cross-site")],
        &[("Referer", &look_alike)],
        &[("Referer", "not a URL")],
        &[("Referer", "about:blank")],
    ] {
        assert_eq!(send(headers).verdict().await, "CrossSite", "{headers:?}");
    }
}

#[tokio::test]
async fn sr_27_a_route_without_csrf_tokens_refuses_cross_site_cookies() {
    let gate = gate_with_ada(csrf::config()).await;
    for target in ["/api/waived", "/api/auth/thing", "/api/private"] {
        assert_eq!(by_cookie(&gate, target).await(&[EVIL]).verdict().await, "CrossSite", "{target}");
    }
}

/// A WebSocket handshake by cookie, to which a test adds the headers that name a site.
fn handshake<'g>(gate: &'g TestGate, connection: &'g str, upgrade: &'g str) -> impl Fn(&[(&str, &str)]) -> Call {
    let call = gate.get("/api/private").cookie("portcullis-session", "ada");
    let call = call.header("Connection", connection).header("Upgrade", upgrade);
    move |headers| headers.iter().fold(call.clone(), |call, (name, value)| call.header(name, value))
}

#[tokio::test]
async fn sr_53_our_and_allowed_pages_open_web_sockets_by_cookie() {
    let gate = gate_with_ada(TestConfig { origins: vec![ALLOWED], ..csrf::config() }).await;
    let ours = gate.origin();
    let open = handshake(&gate, "Upgrade", "websocket");
    for headers in [
        &[("Origin", ours.as_str())][..],
        &[("Origin", &ours), ("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Origin", ALLOWED), ("Sec-Fetch-Site", "cross-site")],
    ] {
        assert_eq!(open(headers).verdict().await, "permit", "{headers:?}");
    }
}

#[tokio::test]
async fn sr_53_other_sites_open_no_web_socket_by_cookie() {
    let gate = gate_with_ada(TestConfig { origins: vec![ALLOWED], ..csrf::config() }).await;
    let ours = gate.origin();
    let open = handshake(&gate, "Upgrade", "websocket");
    for headers in [
        &[][..],
        &[EVIL],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site"), ("Origin", &ours)],
        &[("Origin", &ours), EVIL],
    ] {
        assert_eq!(open(headers).verdict().await, "CrossSite", "{headers:?}");
    }
}

#[tokio::test]
async fn sr_53_every_spelling_of_a_handshake_is_held_to_the_rule() {
    let gate = gate_with_ada(csrf::config()).await;
    for (connection, upgrade) in [
        ("upgrade", "WebSocket"),
        ("keep-alive, UPGRADE", "websocket"),
        ("x ,upgrade", "h2c , WEBSOCKET"),
        ("é, upgrade", "websocket"),
    ] {
        assert_eq!(
            handshake(&gate, connection, upgrade)(&[EVIL]).verdict().await,
            "CrossSite",
            "{connection} {upgrade}"
        );
    }
    let two_fields =
        handshake(&gate, "keep-alive", "h2c")(&[("Connection", "upgrade"), ("Upgrade", "websocket"), EVIL]);
    assert_eq!(two_fields.verdict().await, "CrossSite");
    let ignored = handshake(&gate, "upgrade", "h2c")(&[EVIL]);
    assert_eq!(ignored.verdict().await, "permit", "no other protocol is switched to");
}

#[tokio::test]
async fn sr_53_a_route_without_csrf_tokens_is_held_to_the_rule() {
    let gate = gate_with_ada(csrf::config()).await;
    let call =
        gate.get("/api/waived").header("Connection", "upgrade").header("Upgrade", "websocket").header(EVIL.0, EVIL.1);
    assert_eq!(call.clone().cookie("portcullis-session", "ada").verdict().await, "CrossSite");
    assert_eq!(call.clone().bearer("ada").verdict().await, "permit", "no browser adds a bearer token by itself");
    assert_eq!(call.verdict().await, "permit", "no cookie, no authority");
}

#[tokio::test]
async fn sr_53_report_mode_counts_a_handshake_and_lets_it_pass() {
    let gate = gate_with_ada(TestConfig { csrf_mode: CsrfMode::Report, ..csrf::config() }).await;
    assert_eq!(handshake(&gate, "upgrade", "websocket")(&[EVIL]).verdict().await, "permit");
    gate.assert_metric(r#"csrf_reports_total{reason="cross_site"} 1"#);
    let gate = gate_with_ada(TestConfig { csrf_mode: CsrfMode::Cookie, ..csrf::config() }).await;
    assert_eq!(handshake(&gate, "upgrade", "websocket")(&[EVIL]).verdict().await, "CrossSite");
}

#[tokio::test]
async fn the_origin_of_a_refresh_is_left_to_its_handler() {
    let gate = gate_with_ada(csrf::config()).await;
    let reply = by_cookie(&gate, "/api/auth/refresh").await(&[EVIL]).send().await;
    assert_eq!((reply.verdict(), reply.line("origin-allowed")), ("permit", "false"));
}

#[tokio::test]
async fn the_site_counts_only_where_a_cookie_authenticates() {
    let gate = gate_with_ada(csrf::config()).await;
    let evil = |call: Call| call.header(EVIL.0, EVIL.1).header("Sec-Fetch-Site", "cross-site").verdict();
    assert_eq!(evil(gate.post("/api/waived")).await, "permit", "without a credential");
    assert_eq!(evil(gate.post("/api/waived").bearer("ada")).await, "permit", "by bearer token");
    let invalid = gate.post("/api/waived").cookie("portcullis-session", "garbage");
    assert_eq!(evil(invalid).await, "permit", "by an invalid cookie");
    let safe = gate.get("/api/private").cookie("portcullis-session", "ada");
    assert_eq!(evil(safe).await, "permit", "a GET");
}

#[tokio::test]
async fn with_a_public_url_only_its_origin_is_ours() {
    let gate = gate_with_ada(TestConfig { public_url: Some("https://app.example.com/base"), ..csrf::config() }).await;
    let send = by_cookie(&gate, "/api/private").await;
    assert_eq!(send(&[("Origin", "https://app.example.com")]).verdict().await, "permit");
    assert_eq!(send(&[("Referer", "https://app.example.com/page")]).verdict().await, "permit");
    for other in [gate.origin().as_str(), "http://app.example.com", "https://app.example.com:8443"] {
        assert_eq!(send(&[("Origin", other)]).verdict().await, "CrossSite", "{other}");
    }
}

/// The headers of a proxy that serves `https://app.example.com`, and an origin.
fn proxied(origin: &str) -> [(&str, &str); 3] {
    [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "app.example.com"), ("Origin", origin)]
}

#[tokio::test]
async fn behind_a_trusted_proxy_our_origin_is_the_one_it_forwards() {
    let gate = gate_with_ada(TestConfig { trusted_proxies: vec!["127.0.0.1/32"], ..csrf::config() }).await;
    let send = by_cookie(&gate, "/api/private").await;
    assert_eq!(send(&proxied("https://app.example.com")).verdict().await, "permit");
    assert_eq!(send(&proxied("http://app.example.com")).verdict().await, "CrossSite");
}

#[tokio::test]
async fn an_untrusted_peer_cannot_forward_an_origin() {
    let gate = gate_with_ada(csrf::config()).await;
    let send = by_cookie(&gate, "/api/private").await;
    assert_eq!(send(&proxied("https://app.example.com")).verdict().await, "CrossSite");
}

#[tokio::test]
async fn a_destination_can_ask_whether_the_origin_is_allowed() {
    for environment in [Environment::Development, Environment::Production] {
        let gate = TestGate::start(TestConfig {
            routes: vec![route("/api/v1/auth/login", |policy| policy.csrf = CsrfPolicy::ExemptUnlessCookie)],
            origins: vec![ALLOWED],
            public_url: Some("https://app.example.com"),
            environment,
            ..TestConfig::default()
        })
        .await;
        for (origin, allowed) in [
            (Some("https://app.example.com"), "true"),
            (Some(ALLOWED), "true"),
            (Some("https://evil.example"), "false"),
            (Some("null"), "false"),
            (None, "false"),
        ] {
            let call = gate.post("/api/auth/login").header("Sec-Fetch-Site", "same-origin");
            let call = origin.map_or(call.clone(), |origin| call.header("Origin", origin));
            assert_eq!(call.send().await.line("origin-allowed"), allowed, "{origin:?}");
        }
    }
}

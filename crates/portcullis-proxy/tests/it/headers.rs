//! The header fields that upstreams and clients get.

use portcullis_gate::Propagation;

use crate::gateway::{ADA, Gateway, Setup};
use crate::peer::Upstream;

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// The head that an upstream sees of a request.
async fn seen(setup: impl FnOnce(&mut Setup), request: &str) -> String {
    seen_and_gateway(setup, request).await.0
}

async fn seen_and_gateway(setup: impl FnOnce(&mut Setup), request: &str) -> (String, Gateway, Upstream) {
    let upstream = Upstream::listen().await;
    let mut changed = Setup::to([upstream.address()]);
    setup(&mut changed);
    let gateway = Gateway::start(changed).await;
    let mut client = gateway.connect().await;
    client.write(request).await;
    let mut service = upstream.accept().await;
    let head = service.head().await;
    service.write(EMPTY).await;
    let response = client.head().await;
    assert!(response.starts_with("http/1.1 200"), "{response}");
    (head, gateway, upstream)
}

/// The values of a header in a lower-cased head.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let of = |line: &'a str| line.split_once(": ").filter(|(known, _)| *known == name).map(|(_, value)| value);
    head.lines().filter_map(of).collect()
}

#[tokio::test]
async fn sr_38_identity_is_injected_last_and_a_clients_own_is_removed() {
    let request = format!(
        "GET /api/v1/things/1 HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {ADA}\r\n\
         Connection: X-Portcullis-User, x-secret, close\r\nX-Secret: 1\r\nX-Portcullis-User: root\r\n\
         X_Portcullis_Role: ADMIN\r\nX.PORTCULLIS.Session: s\r\nX-Portcullis_Scopes: all\r\n\
         Keep-Alive: timeout=9\r\nTE: trailers\r\nProxy-Authorization: Basic eA==\r\n\r\n"
    );
    let (head, gateway, _upstream) = seen_and_gateway(|_| (), &request).await;
    let session = gateway.session(ADA);
    assert_eq!(values(&head, "x-portcullis-user"), [session.user_id.to_string()]);
    assert_eq!(values(&head, "x-portcullis-role"), ["developer"]);
    assert_eq!(values(&head, "x-portcullis-session"), [session.id.to_string()]);
    for gone in ["root", "x_portcullis", "x.portcullis", "x-portcullis_", "x-secret", "keep-alive", "te:", "proxy-auth"]
    {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
}

#[tokio::test]
async fn sr_38_an_anonymous_request_carries_no_identity() {
    let request =
        "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\nx-portcullis-user: root\r\nX-Portcullis-Email: a@b\r\n\r\n";
    let head = seen(|_| (), request).await;
    assert!(!head.contains("portcullis"), "{head}");
}

#[tokio::test]
async fn forwarded_headers_of_an_untrusted_peer_are_replaced() {
    let request = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil\r\nX-Forwarded-Port: 666\r\nX-Forwarded-Prefix: /evil\r\nX_Forwarded_Server: evil\r\n\
         Forwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\n\r\n";
    let head = seen(|_| (), request).await;
    assert_eq!(values(&head, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&head, "x-forwarded-host"), ["gate"]);
    assert!(!head.contains("evil") && !head.contains("x-forwarded-port") && !head.contains("6.6.6.6"), "{head}");
}

#[tokio::test]
async fn forwarded_headers_of_a_trusted_peer_are_continued() {
    let request = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 443\r\nX_Forwarded_For: 9.9.9.9\r\n\r\n";
    let head = seen(|setup| setup.trusted_proxies = &["127.0.0.0/8"], request).await;
    assert_eq!(values(&head, "x-forwarded-for"), ["6.6.6.6, 1.2.3.4, 127.0.0.1"]);
    assert_eq!(values(&head, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&head, "x-forwarded-host"), ["shop.example"]);
    assert_eq!(values(&head, "x-forwarded-port"), ["443"]);
    assert!(!head.contains("9.9.9.9"), "{head}");
}

#[tokio::test]
async fn sr_63_identity_with_any_separator_reaches_no_upstream() {
    let names: Vec<String> =
        "!#$%&'*+-.^_`|~".chars().map(|separator| format!("X{separator}Portcullis{separator}User")).collect();
    let forged: String = names.iter().map(|name| format!("{name}: forged\r\n")).collect();
    let request = format!(
        "GET /api/v1/things/1 HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {ADA}\r\n{forged}\
         __X-Portcullis__Role: forged\r\nXPortcullisScopes: forged\r\n\r\n"
    );
    let (head, gateway, _upstream) = seen_and_gateway(|_| (), &request).await;
    assert!(!head.contains("forged"), "{head}");
    assert_eq!(values(&head, "x-portcullis-user"), [gateway.session(ADA).user_id.to_string()]);
}

#[tokio::test]
async fn sr_63_headers_that_rewrite_a_request_reach_no_upstream() {
    let request = "GET /api/v1/things/1 HTTP/1.1\r\nHost: gate\r\nProxy: http://evil\r\n_Proxy: http://evil\r\n\
         X-Original-URL: /evil\r\nX_Original_URL: /evil\r\nX-Rewrite-URL: /evil\r\nX~Rewrite~URL: /evil\r\n\
         Client-Cert: :ZXZpbA==:\r\nClient_Cert: evil\r\nX~Real~IP: evil\r\nX~Forwarded~For: evil\r\n\
         X.Forwarded.Client-Cert: evil\r\nForwarded: for=evil\r\nContent_Length: 9\r\nTransfer~Encoding: evil\r\n\r\n";
    let head = seen(|_| (), request).await;
    assert!(!head.contains("evil") && !head.contains("zxzpba") && !head.contains("content_length"), "{head}");
    // Not even from a trusted proxy, which may have passed on what its client sent.
    let head =
        seen(|setup| setup.trusted_proxies = &["127.0.0.0/8"], &request.replace("Forwarded: for=evil\r\n", "")).await;
    assert!(!head.contains("evil") && head.contains("client-cert: :zxzpba==:"), "{head}");
}

#[tokio::test]
async fn forwarded_of_a_trusted_peer_is_continued() {
    let request = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\nForwarded: for=1.2.3.4;proto=https\r\n\
         Forwarded: for=127.0.0.9\r\n\r\n";
    let head = seen(|setup| setup.trusted_proxies = &["127.0.0.0/8"], request).await;
    assert_eq!(values(&head, "forwarded"), ["for=1.2.3.4;proto=https, for=127.0.0.9, for=127.0.0.1"]);
    assert_eq!(values(&head, "x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn sr_54_a_method_override_reaches_no_upstream() {
    for name in
        ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override", "X~HTTP~Method"]
    {
        for method in ["GET", "POST", "PATCH"] {
            let request = format!(
                "{method} /api/v1/things HTTP/1.1\r\nHost: gate\r\n{name}: DELETE\r\nContent-Length: 0\r\n\r\n"
            );
            let head = seen(|_| (), &request).await;
            assert!(!head.contains("delete"), "{method} {name}: {head}");
        }
    }
}

#[tokio::test]
async fn sr_54_a_route_may_let_a_post_name_its_method() {
    let request = |method: &str| {
        format!(
            "{method} /api/v1/things HTTP/1.1\r\nHost: gate\r\nX-HTTP-Method-Override: DELETE\r\nX_HTTP_Method: evil\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let head = seen(|setup| setup.method_override = true, &request("POST")).await;
    assert_eq!(values(&head, "x-http-method-override"), ["delete"]);
    assert!(!head.contains("evil"), "{head}");
    for method in ["GET", "PATCH"] {
        let head = seen(|setup| setup.method_override = true, &request(method)).await;
        assert!(!head.contains("delete"), "{method} was judged as itself, and perhaps without CSRF token: {head}");
    }
}

const WITH_CREDENTIALS: &str = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer ada-token\r\n\
     X_API_Key: other\r\nCookie: theme=dark; portcullis-csrf=c; __Host-portcullis-refresh=r\r\n\r\n";

#[tokio::test]
async fn sr_42_credentials_reach_no_upstream_that_did_not_opt_in() {
    let head = seen(|_| (), WITH_CREDENTIALS).await;
    assert_eq!(values(&head, "cookie"), ["theme=dark"]);
    assert!(!head.contains("authorization") && !head.contains("api_key") && !head.contains("ada-token"), "{head}");
}

#[tokio::test]
async fn sr_42_an_upstream_that_opted_in_gets_the_authorization() {
    let head = seen(|setup| setup.forward_authorization = true, WITH_CREDENTIALS).await;
    assert_eq!(values(&head, "authorization"), ["bearer ada-token"]);
}

#[tokio::test]
async fn sr_42_a_csrf_token_in_the_query_reaches_no_upstream() {
    let head = seen(|_| (), "GET /api/v1/things/a?x=1&_csrf=secret&y=2 HTTP/1.1\r\nHost: gate\r\n\r\n").await;
    assert!(head.starts_with("get /api/v1/things/a?x=1&y=2 http/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn sr_42_an_upstream_cannot_set_our_cookies() {
    let upstream = Upstream::listen().await;
    let gateway = Gateway::start(Setup::to([upstream.address()])).await;
    let mut client = gateway.connect().await;
    client.write("GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n").await;
    let mut service = upstream.accept().await;
    service.head().await;
    service
        .write(
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nset-cookie: portcullis-session=evil; Path=/\r\n\
             set-cookie: __HOST-Portcullis-CSRF=evil\r\nset-cookie: =portcullis-session=evil\r\n\
             set-cookie: = portcullis-pre=evil\r\nset-cookie: portcullis-refresh\r\nset-cookie: theirs=1\r\n\
             connection: x-internal\r\nx-internal: 1\r\n\r\n",
        )
        .await;
    let head = client.head().await;
    assert_eq!(values(&head, "set-cookie"), ["theirs=1"]);
    assert!(!head.contains("x-internal"), "{head}");
}

#[tokio::test]
async fn an_upstream_gets_its_host_and_the_canonical_target() {
    let request = "GET /api/things/%7ea/../b HTTP/1.1\r\nHost: gate\r\nX-Request-Id: mine\r\nX_Request_Id: mine\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    let (head, _gateway, upstream) =
        seen_and_gateway(|setup| setup.strip_prefix = Some("/api/v1".into()), request).await;
    assert!(head.starts_with("get /things/b http/1.1\r\n"), "{head}");
    assert_eq!(values(&head, "host"), [upstream.address().to_string()]);
    let ids = values(&head, "x-request-id");
    assert!(ids.len() == 1 && ids[0].len() == 32, "{head}");
    assert!(!head.contains("mine"), "{head}");
    let traces = values(&head, "traceparent");
    assert!(traces.len() == 1 && traces[0].starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{head}");
    assert!(!traces[0].contains("b7ad6b7169203331"), "the span is ours: {head}");
}

#[tokio::test]
async fn a_continued_trace_has_one_traceparent_and_its_tracestate() {
    let request = "GET /api/v1/things/1 HTTP/1.1\r\nHost: gate\r\ntracestate: foo=1\r\n\
         TraceParent: \t 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03 \r\nTraceState: bar=2\t\r\n\r\n";
    let head = seen(|_| (), request).await;
    let traces = values(&head, "traceparent");
    assert!(traces.len() == 1 && traces[0].starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{head}");
    assert!(traces[0].ends_with("-02"), "the client is not trusted to have it recorded: {head}");
    assert_eq!(values(&head, "tracestate"), ["foo=1,bar=2"]);
}

/// A request whose trace is in the fields of B3.
const B3_REQUEST: &str = "GET /api/v1/things/1 HTTP/1.1\r\nHost: gate\r\n\
     B3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1\r\nX-B3-TraceId: 64fe8b2a57d3eff7\r\n\
     X-B3-SpanId: e457b5a2e4d86bd1\r\nX-B3-ParentSpanId: 05e3ac9a4f6e3b90\r\nX-B3-Sampled: 0\r\nX-B3-Flags: 1\r\n\r\n";

#[tokio::test]
async fn b3_passes_unread_unless_it_is_chosen() {
    let head = seen(|_| (), B3_REQUEST).await;
    assert_eq!(values(&head, "b3"), ["80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"]);
    assert_eq!(values(&head, "x-b3-flags"), ["1"]);
    assert!(!values(&head, "traceparent")[0].contains("80f198ee56343ba864fe8b2a57d3eff7"), "{head}");
}

#[tokio::test]
async fn chosen_b3_fields_are_replaced_by_ours() {
    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    for (writes_b3, writes_b3_multi) in [(true, false), (false, true), (true, true)] {
        let propagation = Propagation { writes_b3, writes_b3_multi, ..Propagation::default() };
        let trusting = |setup: &mut Setup| {
            setup.propagation = propagation;
            setup.trusted_proxies = &["127.0.0.0/8"];
        };
        let head = seen(trusting, B3_REQUEST).await;
        let traceparent = values(&head, "traceparent")[0].to_owned();
        assert!(traceparent.starts_with(&format!("00-{TRACE}-")) && traceparent.ends_with("-01"), "{head}");
        let span = &traceparent[36..52];
        assert_ne!(span, "e457b5a2e4d86bd1", "the span is ours");
        let single = if writes_b3 { vec![format!("{TRACE}-{span}-1")] } else { Vec::new() };
        let several = |value: &'static str| if writes_b3_multi { vec![value.to_owned()] } else { Vec::new() };
        assert_eq!(values(&head, "b3"), single, "{head}");
        assert_eq!(values(&head, "x-b3-traceid"), several(TRACE), "{head}");
        assert_eq!(values(&head, "x-b3-spanid").concat(), if writes_b3_multi { span } else { "" }, "{head}");
        assert_eq!(values(&head, "x-b3-sampled"), several("1"), "{head}");
        assert!(values(&head, "x-b3-parentspanid").is_empty() && values(&head, "x-b3-flags").is_empty(), "{head}");
    }
}

#[tokio::test]
async fn a_new_trace_has_no_tracestate_of_the_client() {
    for traceparent in [
        "",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01\r\n",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    ] {
        let request = format!("GET /api/v1/things/1 HTTP/1.1\r\nHost: gate\r\n{traceparent}tracestate: foo=1\r\n\r\n");
        let head = seen(|_| (), &request).await;
        let traces = values(&head, "traceparent");
        assert_eq!(traces.len(), 1, "{head}");
        assert!(!traces[0].contains("0af7651916cd43dd8448eb211c80319c") && traces[0].ends_with("-02"), "{head}");
        assert!(!head.contains("tracestate"), "{head}");
    }
}

#[tokio::test]
async fn a_tracestate_that_is_too_long_is_not_passed_on() {
    let state = "foo=1,".repeat(8000);
    let request = format!(
        "GET /api/v1/things/1 HTTP/1.1\r\nHost: gate\r\ntracestate: {state}\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n\r\n"
    );
    let head = seen(|_| (), &request).await;
    assert!(values(&head, "traceparent")[0].starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{head}");
    assert!(!head.contains("tracestate"), "{head}");
}

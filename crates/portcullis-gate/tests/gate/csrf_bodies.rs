//! The places that a CSRF token is looked for in, and what happens to a body that may hold it
//! (docs/contract.md, "CSRF"; SR-28).

use portcullis_model::policy::{BodyLimit, CsrfPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Call, Reply, raw};
use crate::csrf::Pair;
use crate::test_gate::{TestGate, csrf_endpoint, route};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MAX_BODY: usize = 64 * 1024;

/// A page that has fetched its pair.
struct Page {
    gate: TestGate,
    token: String,
    cookies: String,
}

async fn page() -> Page {
    let checked = route("/api/v1/checked", |policy| policy.csrf = CsrfPolicy::Checked);
    let small = route("/api/v1/small", |policy| {
        policy.csrf = CsrfPolicy::Checked;
        policy.max_body = BodyLimit::Bytes(100);
    });
    let gate = TestGate::with_routes([checked, small, csrf_endpoint()]).await;
    let pair = Pair::fetch(&gate).await;
    Page { gate, cookies: pair.cookies(), token: pair.token }
}

impl Page {
    fn post(&self, target: &str) -> Call {
        self.gate.post(target).header("Cookie", &self.cookies)
    }

    fn json(&self) -> String {
        format!("{{\"_csrf\":\"{}\"}}", self.token)
    }

    fn form(&self) -> String {
        format!("_csrf={}", self.token)
    }

    /// A form of exactly so many bytes.
    fn form_of(&self, length: usize) -> String {
        let start = format!("{}&fill=", self.form());
        let fill = "x".repeat(length - start.len());
        start + &fill
    }
}

#[tokio::test]
async fn a_token_in_a_body_is_found_and_the_body_passes_unchanged() {
    let page = page().await;
    let json = format!("{{\"a\": [1, {{\"_csrf\": \"inner\"}}],\n \"_csrf\":\"{}\"}}", page.token);
    let form = format!("a=%20b&{}&c", page.form());
    let escaped = format!("_cs%72f={}", page.token.replace('.', "%2E"));
    for (kind, body) in
        [(JSON, json.as_str()), ("Application/JSON; charset=utf-8", &json), (FORM, &form), (FORM, &escaped)]
    {
        let reply = page.post("/api/checked").body(kind, body).send().await;
        assert_eq!(reply.verdict(), "permit", "{kind}: {body}");
        assert!(reply.body.contains(&format!("body: {body}\n")), "{reply:?}");
    }
}

#[tokio::test]
async fn a_token_in_the_header_counts_before_the_query_and_the_body() {
    let page = page().await;
    let right = page.post("/api/checked?_csrf=wrong").header("X-CSRF-Token", &page.token);
    assert_eq!(right.verdict().await, "permit");
    let wrong = page.post("/api/checked").header("X-CSRF-Token", "wrong").body(JSON, &page.json());
    assert!(wrong.verdict().await.contains("Mismatch"));
}

#[tokio::test]
async fn a_token_in_the_query_counts_before_the_body() {
    let page = page().await;
    let wrong = page.post("/api/checked?_csrf=wrong").body(JSON, &page.json());
    assert!(wrong.verdict().await.contains("Mismatch"));
}

#[tokio::test]
async fn with_a_token_in_the_query_the_body_is_not_read() {
    let page = page().await;
    let reply = page.post(&format!("/api/checked?a=1&_csrf={}", page.token)).body(JSON, "{}").send().await;
    assert_eq!((reply.verdict(), reply.line("query")), ("permit", "a=1"));
    assert_eq!(reply.header("x-polls"), Some("1"), "the gate awaits nothing");
}

#[tokio::test]
async fn sr_28_a_body_of_another_type_is_never_read() {
    let page = page().await;
    let multipart = format!("--x\r\nContent-Disposition: form-data; name=\"_csrf\"\r\n\r\n{}\r\n--x--\r\n", page.token);
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/octet-stream", "text/json", ""] {
        for body in [&page.json(), &page.form(), &multipart] {
            let verdict = page.post("/api/checked").body(kind, body).verdict().await;
            assert!(verdict.contains("NoToken"), "{kind}: {body}");
        }
    }
}

#[tokio::test]
async fn sr_28_an_encoded_body_is_never_read() {
    let page = page().await;
    let encoded = page.post("/api/checked").header("Content-Encoding", "gzip").body(JSON, &page.json());
    assert!(encoded.verdict().await.contains("NoToken"));
}

#[tokio::test]
async fn sr_28_a_body_without_content_length_is_never_read() {
    let page = page().await;
    let json = page.json();
    let request = format!(
        "POST /api/checked HTTP/1.1\r\nHost: a\r\nCookie: {}\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n{:x}\r\n{json}\r\n0\r\n\r\n",
        page.cookies,
        json.len()
    );
    let reply = Reply::read(raw(page.gate.address, request.as_bytes()).await);
    assert!(reply.verdict().contains("NoToken"), "{reply:?}");
}

#[tokio::test]
async fn a_body_of_64_kib_is_read_and_a_longer_one_is_not() {
    let page = page().await;
    assert_eq!(page.post("/api/checked").body(FORM, &page.form_of(MAX_BODY)).verdict().await, "permit");
    let longer = page.post("/api/checked").body(FORM, &page.form_of(MAX_BODY + 1)).verdict().await;
    assert!(longer.contains("NoToken"), "{longer}");
}

#[tokio::test]
async fn a_body_over_the_routes_limit_is_not_searched() {
    let page = page().await;
    assert_eq!(page.post("/api/small").body(FORM, &page.form_of(241)).verdict().await, "PayloadTooLarge");
}

#[tokio::test]
async fn a_body_that_is_not_a_form_has_no_token() {
    let page = page().await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let nested = format!("{{\"_csrf\":{}{}}}", "{\"a\":".repeat(5_000), "1".to_owned() + &"}".repeat(5_000));
    let twice = format!("{{\"_csrf\":\"{0}\",\"_csrf\":\"{0}\"}}", page.token);
    for body in ["", "{", "null", "[]", "{\"_csrf\":5}", "{\"_csrf\":null}", "\u{0}", &deep, &nested, &twice] {
        let reply = page.post("/api/checked").body(JSON, body).send().await;
        assert!(reply.verdict().contains("NoToken"), "{body:.40}: {reply:?}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_never_reaches_the_route() {
    let page = page().await;
    let request = format!(
        "POST /api/checked HTTP/1.1\r\nHost: a\r\nCookie: {}\r\nContent-Type: {FORM}\r\nContent-Length: 200\r\n\r\n_csrf=",
        page.cookies
    );
    let stream = tokio::net::TcpStream::connect(page.gate.address).await.expect("the server listens");
    let (mut reading, mut writing) = stream.into_split();
    writing.write_all(request.as_bytes()).await.expect("the server reads");
    writing.shutdown().await.expect("half closed");
    // The server may close the connection without a response, but it has counted the request by then.
    let _ = reading.read_to_end(&mut Vec::new()).await;
    page.gate.assert_metric("http_requests_in_progress{method=\"POST\",route=\"/api/v1/checked\"} 0");
    let metrics = page.gate.metrics_page();
    assert!(!metrics.contains("route=\"/api/v1/checked\",status_code=\"200\""), "{metrics}");
}

//! Where the token may stand, and what happens to the body it is looked for in (contract §5).

use portcullis_model::policy::{BodyLimit, CsrfPolicy};

use crate::bed::{Bed, Setup, csrf_endpoint, route};
use crate::client::{Answer, Call, raw};
use crate::csrf::pair;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

struct Page {
    bed: Bed,
    token: String,
    cookies: String,
}

async fn page() -> Page {
    let checked = route("/api/v1/checked", |policy| policy.csrf = CsrfPolicy::Checked);
    let small = route("/api/v1/small", |policy| {
        policy.csrf = CsrfPolicy::Checked;
        policy.max_body = BodyLimit::Bytes(100);
    });
    let bed = Bed::start(Setup { routes: vec![checked, small, csrf_endpoint()], ..Setup::default() }).await;
    let (token, pre) = pair(&bed).await;
    let cookies = format!("portcullis-csrf={token}; portcullis-pre={pre}");
    Page { bed, token, cookies }
}

impl Page {
    fn post(&self, target: &str) -> Call {
        self.bed.post(target).header("Cookie", &self.cookies)
    }
}

#[tokio::test]
async fn a_token_in_a_body_is_found_and_the_body_passes_unchanged() {
    let page = page().await;
    let json = format!("{{\"a\": [1, {{\"_csrf\": \"inner\"}}],\n \"_csrf\":\"{}\"}}", page.token);
    let form = format!("a=%20b&_csrf={}&c", page.token);
    let escaped = format!("_cs%72f={}", page.token.replace('.', "%2E"));
    for (kind, body) in
        [(JSON, json.as_str()), ("Application/JSON; charset=utf-8", &json), (FORM, &form), (FORM, &escaped)]
    {
        let answer = page.post("/api/checked").body(kind, body).send().await;
        assert_eq!(answer.refusal(), "permit", "{kind}: {body}");
        assert!(answer.body.contains(&format!("body: {body}\n")), "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_is_looked_into_only_without_header_and_query() {
    let page = page().await;
    let body = format!("{{\"_csrf\":\"{}\"}}", page.token);
    let header = page.post("/api/checked").header("X-CSRF-Token", "wrong").body(JSON, &body);
    assert!(header.refusal().await.contains("Mismatch"));
    let query = page.post("/api/checked?_csrf=wrong").body(JSON, &body);
    assert!(query.refusal().await.contains("Mismatch"));
    let target = format!("/api/checked?a=1&_csrf={}", page.token);
    let by_query = page.post(&target).body(JSON, "{}").send().await;
    assert_eq!((by_query.refusal(), by_query.line("query")), ("permit", "a=1"));
    assert_eq!(by_query.header("x-polls"), Some("1"), "nothing was awaited for it");
    let both = page.post("/api/checked?_csrf=wrong").header("X-CSRF-Token", &page.token);
    assert_eq!(both.refusal().await, "permit", "the header comes first");
}

#[tokio::test]
async fn sr_28_other_bodies_are_never_looked_into() {
    let page = page().await;
    let json = format!("{{\"_csrf\":\"{}\"}}", page.token);
    let form = format!("_csrf={}", page.token);
    let multipart = format!("--x\r\nContent-Disposition: form-data; name=\"_csrf\"\r\n\r\n{}\r\n--x--\r\n", page.token);
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/octet-stream", "text/json", ""] {
        for body in [&json, &form, &multipart] {
            let answer = page.post("/api/checked").body(kind, body).send().await;
            assert!(answer.refusal().contains("NoToken"), "{kind}: {body}");
        }
    }
    let encoded = page.post("/api/checked").header("Content-Encoding", "gzip").body(JSON, &json);
    assert!(encoded.refusal().await.contains("NoToken"));
    let request = format!(
        "POST /api/checked HTTP/1.1\r\nHost: a\r\nCookie: {}\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n{:x}\r\n{json}\r\n0\r\n\r\n",
        page.cookies,
        json.len()
    );
    let chunked = Answer::read(raw(page.bed.address, request.as_bytes()).await);
    assert!(chunked.refusal().contains("NoToken"), "without a Content-Length");
}

#[tokio::test]
async fn a_body_of_64_kib_is_read_and_a_longer_one_is_not() {
    let page = page().await;
    let of = |length: usize| {
        let start = format!("_csrf={}&fill=", page.token);
        let fill = "x".repeat(length - start.len());
        start + &fill
    };
    assert_eq!(page.post("/api/checked").body(FORM, &of(64 * 1024)).refusal().await, "permit");
    let longer = page.post("/api/checked").body(FORM, &of(64 * 1024 + 1)).refusal().await;
    assert!(longer.contains("NoToken"), "{longer}");
    assert_eq!(page.post("/api/small").body(FORM, &of(101 + 140)).refusal().await, "PayloadTooLarge");
}

#[tokio::test]
async fn a_body_that_is_no_form_is_a_refusal_and_never_a_failure() {
    let page = page().await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let nested = format!("{{\"_csrf\":{}{}}}", "{\"a\":".repeat(5_000), "1".to_owned() + &"}".repeat(5_000));
    let twice = format!("{{\"_csrf\":\"{0}\",\"_csrf\":\"{0}\"}}", page.token);
    for body in ["", "{", "null", "[]", "{\"_csrf\":5}", "{\"_csrf\":null}", "\u{0}", &deep, &nested, &twice] {
        let answer = page.post("/api/checked").body(JSON, body).send().await;
        assert!(answer.refusal().contains("NoToken"), "{body:.40}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_malformed() {
    let page = page().await;
    let request = format!(
        "POST /api/checked HTTP/1.1\r\nHost: a\r\nCookie: {}\r\nContent-Type: {FORM}\r\nContent-Length: 200\r\n\r\n_csrf=",
        page.cookies
    );
    let stream = tokio::net::TcpStream::connect(page.bed.address).await.expect("the server listens");
    let (mut reading, mut writing) = stream.into_split();
    tokio::io::AsyncWriteExt::write_all(&mut writing, request.as_bytes()).await.expect("the server reads");
    tokio::io::AsyncWriteExt::shutdown(&mut writing).await.expect("half closed");
    let mut bytes = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut bytes).await;
    // Nobody may be left to answer, but it is counted, and it never reached the route.
    let page = page.bed.metrics.render(false);
    assert!(!page.contains("route=\"/api/v1/checked\",status_code=\"200\""), "{page}");
    assert!(page.contains("http_requests_in_progress{method=\"POST\",route=\"/api/v1/checked\"} 0\n"), "{page}");
}

//! Upstreams that do not respond.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hyper::body::Bytes;

use super::{gateway, settings, upstream};
use crate::client::{app, client, get, raw, send};

/// A piece of a request's body.
type Chunk = Result<Bytes, Infallible>;

#[tokio::test]
async fn a_missing_upstream_is_502_and_other_routes_go_on() {
    let (app, _) = gateway().await;
    let response = get(&app, "/api/v1/dead/x").await;
    assert_eq!((response.status, response.error()), (502, "Bad gateway"));
    assert!(response.body["requestId"].is_string());
    assert_eq!(get(&app, "/api/v1/open/x").await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_does_not_respond_in_time_is_504() {
    let (app, _) = gateway().await;
    let response = get(&app, "/api/v1/impatient/never").await;
    assert_eq!((response.status, response.error()), (504, "Gateway timeout"));
}

#[tokio::test]
async fn an_upstream_whose_name_is_unknown_says_so() {
    // No name server is asked for a label of more than 63 characters.
    let name = format!("{}.invalid", "a".repeat(64));
    let app = app()
        .settings(&format!(
            "[upstreams.unknown]\ntargets = [\"http://{name}\"]\n[[routes]]\npath = \"/api/v1/x\"\nupstream = \"unknown\"\n\
             auth = \"none\"\n"
        ))
        .start();
    let response = get(&app, "/api/v1/x").await;
    assert_eq!((response.status, response.error()), (502, "Bad gateway"));
    assert_eq!(response.header("proxy-status"), "portcullis; error=dns_error");
    let line = app.log_line_with("an upstream did not answer a request");
    assert!(line.contains(&name) && line.contains("cannot be resolved; hint: check `targets`"), "{line}");
}

#[tokio::test]
async fn failures_of_a_proxied_route_have_a_proxy_status() {
    let (address, _) = upstream().await;
    let app = app().settings(&format!("{}\n[server]\nbody_timeout = \"1s\"\n", settings(address))).start();
    for (path, status, error) in
        [("impatient/never", 504, "http_response_timeout"), ("dead/x", 502, "connection_refused")]
    {
        let response = get(&app, &format!("/api/v1/{path}")).await;
        let expected = (status, format!("portcullis; error={error}"));
        assert_eq!((response.status, response.header("proxy-status").to_owned()), expected, "{path}");
        assert_eq!(response.body["statusCode"], status);
    }
    // A body of which nothing arrives.
    let stalled =
        client().post(app.url("/api/v1/open/upload")).body(reqwest::Body::wrap_stream(stream::pending::<Chunk>()));
    let response = send(stalled).await;
    assert_eq!((response.status, response.error()), (408, "Request timeout"));
    assert_eq!(response.header("proxy-status"), "portcullis; error=http_request_error");
    let metrics = get(&app, "/metrics").await;
    let metrics = metrics.body.as_str().expect("a text");
    for line in [
        r#"upstream_requests_total{upstream="projects",outcome="timeout"} 1"#,
        r#"upstream_requests_total{upstream="projects",outcome="client"} 1"#,
        r#"upstream_body_failures_total{upstream="projects"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_form_that_stalls_while_its_token_is_looked_for_is_408() {
    let (address, _) = upstream().await;
    let app = app().settings(&format!("{}\n[server]\nbody_timeout = \"1s\"\n", settings(address))).start();
    let request = "POST /api/v1/managers/x HTTP/1.1\r\nHost: localhost\r\nCookie: portcullis-pre=1; portcullis-csrf=1\r\n\
                   Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\na=b";
    let response = tokio::task::spawn_blocking(move || raw(&app, request.as_bytes())).await;
    let response = response.expect("it does not panic");
    assert!(response.starts_with("HTTP/1.1 408"), "{response}");
    assert!(
        response.to_ascii_lowercase().contains("\r\nproxy-status: portcullis; error=http_request_error\r\n"),
        "{response}"
    );
}

#[tokio::test]
async fn an_upload_may_take_longer_than_the_routes_timeout() {
    let (address, _) = upstream().await;
    let app = app().settings(&settings(address)).start();
    // The route has a timeout of one second, and the upload takes two.
    let pieces = stream::iter(0..5).then(async |_| {
        tokio::time::sleep(Duration::from_millis(400)).await;
        Chunk::Ok(Bytes::from_static(b"piece"))
    });
    let upload = client().post(app.url("/api/v1/impatient/upload")).body(reqwest::Body::wrap_stream(pieces));
    let response = send(upload).await;
    assert_eq!((response.status, response.body.as_u64()), (200, Some(25)), "{}", response.body);
}

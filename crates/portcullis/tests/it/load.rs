//! Many at once.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_testkit::PASSWORD;
use serde_json::json;

use crate::client::{app, client, post, register};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_while_fifty_people_log_in() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = service_fn(|_| async {
                    Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"{}"))))
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let settings = format!(
        "[upstreams.u]\ntargets = [\"http://{address}\"]\n[[routes]]\npath = \"/api/v1/things/{{*rest}}\"\nupstream = \"u\"\n"
    );
    let app = Arc::new(app().settings(&settings).start());
    let account = register(&app).await;
    let logins: Vec<_> = (0..50)
        .map(|_| {
            let (app, email) = (Arc::clone(&app), account.email.clone());
            tokio::spawn(async move {
                post(&app, "/api/v1/auth/login", &json!({ "email": email, "password": PASSWORD })).await.status
            })
        })
        .collect();
    let client = client();
    let requests: Vec<_> = (0..1000)
        .map(|n| {
            let request = client.get(app.url(&format!("/api/v1/things/{n}"))).bearer_auth(&account.access);
            tokio::spawn(async move { request.send().await.map(|response| response.status().as_u16()) })
        })
        .collect();
    for request in requests {
        let status = request.await.expect("no panic").expect("no request is lost");
        assert_eq!(status, 200);
    }
    for login in logins {
        assert_eq!(login.await.expect("no panic"), 200);
    }
}

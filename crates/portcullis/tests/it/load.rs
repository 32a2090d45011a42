//! Many requests at once.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_testkit::PASSWORD;
use serde_json::json;

use crate::client::{app, client, post, register};

/// An upstream whose every response is an empty JSON object.
async fn upstream() -> SocketAddr {
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
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_succeed_during_fifty_logins() {
    // The burst is larger than what a target gets at once, so part of it waits in the queue.
    let settings = format!(
        "[upstreams.u]\ntargets = [\"http://{}\"]\nqueue = {{ length = 1000, wait = \"60s\" }}\n\
         [[routes]]\npath = \"/api/v1/things/{{*rest}}\"\nupstream = \"u\"\n",
        upstream().await
    );
    let app = Arc::new(app().settings(&settings).start());
    let user = register(&app).await;
    let logins: Vec<_> = (0..50)
        .map(|_| {
            let (app, email) = (Arc::clone(&app), user.email.clone());
            tokio::spawn(async move {
                post(&app, "/api/v1/auth/login", &json!({ "email": email, "password": PASSWORD })).await.status
            })
        })
        .collect();
    let client = client();
    let requests: Vec<_> = (0..1000)
        .map(|n| {
            let request = client.get(app.url(&format!("/api/v1/things/{n}"))).bearer_auth(&user.access);
            tokio::spawn(async move { request.send().await.map(|response| response.status().as_u16()) })
        })
        .collect();
    for request in requests {
        let status = request.await.expect("no panic").expect("every request gets a response");
        assert_eq!(status, 200);
    }
    for login in logins {
        assert_eq!(login.await.expect("no panic"), 200);
    }
}

//! Who may read the metrics, and where.

use portcullis_testkit::TestApp;
use reqwest::Method;

use crate::client::{TestResponse, call, client, get, refused, register, send};
use crate::shell_users::{administrator, bearer_gateway};

const TOKEN: &str = "a-token-of-the-scraper";

async fn metrics_with(app: &TestApp, token: &str) -> TestResponse {
    call(app, Method::GET, "/metrics", token, None).await
}

#[tokio::test]
async fn metrics_need_their_token_or_the_permission() {
    let app = bearer_gateway().env("PORTCULLIS__METRICS__TOKEN", TOKEN).start();
    let none = get(&app, "/metrics").await;
    refused(&none, 401, "Access token is required");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    for wrong in ["a-token-of-the-scrapeR", "a-token-of-the-scraper2", ""] {
        assert_eq!(metrics_with(&app, wrong).await.status, 401, "{wrong:?}");
    }
    assert_eq!(
        send(client().get(app.url("/metrics")).header("Authorization", format!("bearer {TOKEN}"))).await.status,
        200
    );
    let user = register(&app).await;
    refused(&metrics_with(&app, &user.access).await, 403, "Insufficient permissions");
    let root = administrator(&app).await;
    let page = metrics_with(&app, &root).await;
    assert_eq!(page.status, 200);
    let text = page.body.as_str().expect("text");
    assert!(text.contains("http_requests_total{method=\"GET\",route=\"/metrics\",status_code=\"401\"} 4\n"), "{text}");
    assert!(!text.contains(TOKEN));
}

/// The address that the announcement names.
fn listener_of_metrics(app: &TestApp) -> String {
    let output = app.startup_output();
    let url = output.lines().find_map(|line| line.strip_prefix("metrics on ")).expect("it is announced");
    url.strip_suffix("/metrics").expect("its path").to_owned()
}

#[tokio::test]
async fn metrics_on_their_own_listener_are_nowhere_else() {
    let app = bearer_gateway().env("PORTCULLIS__METRICS__LISTEN", "127.0.0.1:0").start();
    let own = listener_of_metrics(&app);
    let on_own = async |path: &str| send(client().get(format!("{own}{path}"))).await;
    refused(&get(&app, "/metrics").await, 404, "Route not found");
    assert_eq!(get(&app, "/api/health").await.status, 200);
    let page = on_own("/metrics").await;
    assert_eq!(page.status, 200);
    let text = page.body.as_str().expect("text").to_owned();
    assert!(text.contains("http_requests_total{method=\"GET\",route=\"/metrics\",status_code=\"404\"} 1\n"), "{text}");
    // The listener of metrics counts none of its own connections.
    assert!(text.contains("\nconnections_open "), "{text}");
    for path in ["/", "/api/health", "/api/v1/auth/profile", "/metrics/x"] {
        refused(&on_own(path).await, 404, "Route not found");
    }
    app.run(&["reload"], "");
    assert_eq!(on_own("/metrics").await.status, 200, "after a reload");
    refused(&get(&app, "/metrics").await, 404, "Route not found");
}

#[tokio::test]
async fn the_listener_of_metrics_asks_for_the_token_too() {
    let gateway = bearer_gateway().env("PORTCULLIS__METRICS__LISTEN", "127.0.0.1:0");
    let app = gateway.env("PORTCULLIS__METRICS__TOKEN", TOKEN).start();
    let url = format!("{}/metrics", listener_of_metrics(&app));
    refused(&send(client().get(&url)).await, 401, "Access token is required");
    assert_eq!(send(client().get(&url).bearer_auth(TOKEN)).await.status, 200);
    let root = administrator(&app).await;
    assert_eq!(send(client().get(&url).bearer_auth(root)).await.status, 200);
}

//! Error reports of the running gateway, as a server of Sentry's protocol receives them.

use portcullis_testkit::PrivatePostgres;
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::client::{app, client, send};
use crate::shell_users::administrator;

/// A server that takes every report. Returns its address, and what it received.
async fn server() -> (std::net::SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound listener has an address");
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut text = String::new();
            let mut part = vec![0; 65_536];
            loop {
                let length = connection.read(&mut part).await.expect("the gateway sends");
                text.push_str(&String::from_utf8_lossy(&part[..length]));
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let whole = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
                if body.len() >= whole.parse().expect("a number") {
                    break;
                }
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            connection.write_all(answer.as_bytes()).await.expect("the gateway reads");
            sender.send(text).expect("the test waits");
        }
    });
    (address, received)
}

#[tokio::test]
async fn sr_47_a_report_holds_nothing_that_a_client_sent() {
    let (sentry, mut received) = server().await;
    let postgres = PrivatePostgres::shared();
    let url = postgres.database();
    let app = app()
        .env("DATABASE_URL", &url)
        .env("SENTRY_DSN", format!("http://key@{sentry}/1"))
        .env("SENTRY_ENVIRONMENT", "staging")
        .env("SENTRY_RELEASE", "gate-7")
        .start();
    let root = administrator(&app).await;
    let database = url.rsplit('/').next().expect("the address ends with the name");
    postgres.run_sql_in(database, "ALTER TABLE api_keys RENAME TO taken_away");
    // PostgreSQL quotes the value in its error.
    postgres.run_sql_in(
        database,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         RAISE EXCEPTION 'no user \"%\" with %', NEW.username, NEW.email; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let read = client()
        .request(Method::GET, app.url("/api/v1/api-keys?note=planted1"))
        .bearer_auth(&root)
        .header("cookie", "note=planted2")
        .header("user-agent", "planted3");
    let failed = send(read).await;
    assert_eq!(failed.status, 500, "{}", failed.body);
    let mut form = portcullis_testkit::registration("planted4");
    form["firstName"] = "Planted5".into();
    let written = send(client().post(app.url("/api/v1/auth/register")).json(&form)).await;
    assert_eq!(written.status, 500, "{}", written.body);

    // The job that prunes API keys fails too, and reports that.
    let mut reports = Vec::new();
    while reports.len() < 2 {
        let report = received.recv().await.expect("a report");
        if report.contains("Failed request") {
            reports.push(report);
        }
    }
    for report in &reports {
        let lower = report.to_ascii_lowercase();
        assert!(!lower.contains("planted") && !lower.contains("example.com"), "{report}");
        assert!(!report.contains(&root) && !report.contains(portcullis_testkit::PASSWORD), "{report}");
    }
    let event: Value = serde_json::from_str(reports[0].lines().last().expect("an event")).expect("JSON");
    assert_eq!((&event["transaction"], &event["release"]), (&"/api/v1/api-keys".into(), &"gate-7".into()));
    assert_eq!((&event["environment"], &event["tags"]["request_id"]), (&"staging".into(), &failed.body["requestId"]));
}

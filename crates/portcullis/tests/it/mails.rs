//! Mails from the outbox over a real server: no mail is lost, whatever fails.

use std::time::{Duration, Instant};

use portcullis_testkit::{PASSWORD, PrivateSmtp, Stopwatch, TestApp, TestAppBuilder, free_port};
use reqwest::Method;
use serde_json::json;

use crate::client::{app, call, get, post, register};

fn with(smtp: u16) -> TestAppBuilder {
    app().env("SMTP_URL", format!("smtp://127.0.0.1:{smtp}")).env("MAIL_FROM", "Gate <gate@example.com>")
}

/// The token in the link of a mail.
fn token(mail: &str) -> String {
    let text = mail.replace("=\r\n", "").replace("=3D", "=");
    let link = text.split('#').nth(1).expect("a link with a token");
    link.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').next().expect("a token").to_owned()
}

/// Waits until the metrics count this many attempts with this result.
async fn wait_for(app: &TestApp, result: &str, count: u64) {
    let sample = format!("mails_total{{result=\"{result}\"}} ");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let page = get(app, "/metrics").await;
        let counted = page.body.as_str().and_then(|page| page.lines().find_map(|line| line.strip_prefix(&sample)));
        if counted.is_some_and(|counted| counted.parse::<u64>().expect("a number") >= count) {
            return;
        }
    }
    panic!("fewer than {count} attempts ended as {result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sr_11_a_link_leaves_by_mail_and_works() {
    let smtp = PrivateSmtp::start();
    let app = with(smtp.port()).start();
    let account = register(&app).await;
    let verify = smtp.wait_for(1).remove(0);
    assert!(verify.contains("Confirm your email address for 127.0.0.1") && verify.contains(&account.email), "{verify}");
    let done = post(&app, "/api/v1/auth/verify-email", &json!({ "token": token(&verify) })).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let again = post(&app, "/api/v1/auth/verify-email", &json!({ "token": token(&verify) })).await;
    assert_eq!((again.status, again.error()), (400, "Invalid verification token"));
    let mine = call(&app, Method::GET, "/api/v1/auth/profile", &account.access, None).await;
    assert_eq!(mine.body["data"]["user"]["isEmailVerified"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_outlives_failures_of_server_and_gateway() {
    let smtp = PrivateSmtp::start();
    smtp.set_behaviour("die");
    let mut app = with(smtp.port()).start();
    let account = register(&app).await;
    let stopwatch = Stopwatch::start();
    let forgot = post(&app, "/api/v1/auth/forgot-password", &json!({ "email": account.email })).await;
    assert_eq!(forgot.status, 200);
    assert!(stopwatch.running() < Duration::from_secs(5), "the response waited for the mail server");
    // Both mails wait. A mail that is being sent when the process is killed stays claimed for a minute.
    wait_for(&app, "delayed", 2).await;
    smtp.set_behaviour("busy");
    app.crash_and_restart();
    smtp.set_behaviour("take");
    let mails = smtp.wait_for(2);
    let reset = mails.iter().find(|mail| mail.contains("Set a new password")).expect("the mail for the password");
    let body = json!({ "token": token(reset), "newPassword": "a quite different secret", "confirmPassword": "a quite different secret" });
    assert_eq!(post(&app, "/api/v1/auth/reset-password", &body).await.status, 200);
    wait_for(&app, "sent", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_sent_delays_no_request() {
    let app = with(free_port()).start();
    let account = register(&app).await;
    wait_for(&app, "delayed", 1).await;
    let body = json!({ "email": account.email, "password": PASSWORD });
    assert_eq!(post(&app, "/api/v1/auth/login", &body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_address_is_given_up_and_the_next_mail_sent() {
    let smtp = PrivateSmtp::start();
    smtp.set_behaviour("reject");
    let app = with(smtp.port()).start();
    register(&app).await;
    wait_for(&app, "given_up", 1).await;
    smtp.set_behaviour("take");
    let other = register(&app).await;
    let mails = smtp.wait_for(1);
    assert!(mails.len() == 1 && mails[0].contains(&other.email), "{mails:?}");
}

//! Requests that reach several replicas at the same moment.

use std::sync::Arc;

use portcullis_model::secret::sha256;
use reqwest::StatusCode;
use tokio::task::JoinSet;

use crate::client::{client, register};
use crate::replicas::Replicas;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_registrations_of_an_address_succeeds() {
    let replicas = Arc::new(Replicas::start(&[]).await);
    let mut racing = JoinSet::new();
    for number in 0..12 {
        let replicas = Arc::clone(&replicas);
        racing.spawn(async move {
            let mut body = portcullis_testkit::registration("grace");
            body["username"] = format!("grace{number}").into();
            crate::client::post(&replicas.apps[number % 3], "/api/v1/auth/register", &body).await.status
        });
    }
    let mut responses = racing.join_all().await;
    responses.sort_unstable();
    let conflict = StatusCode::CONFLICT.as_u16();
    assert_eq!((responses[0], &responses[1..]), (201, [conflict; 11].as_slice()));
}

/// The bound holds for all replicas together: what they count at the same moment, each sees before it compares.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_65_a_burst_over_replicas_compares_no_more_than_the_bound() {
    let replicas = Arc::new(Replicas::start(&[("PORTCULLIS__SERVER__TRUSTED_PROXIES", "127.0.0.1")]).await);
    let account = register(&replicas.apps[0]).await;
    let subject: String =
        sha256(format!("account\n{}", account.email).as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    replicas.sql(&format!(
        "INSERT INTO sign_in_attempts (subject, failures, last_at) VALUES ('\\x{subject}', 97, now()) \
         ON CONFLICT (subject) DO UPDATE SET failures = 97"
    ));
    let mut burst = JoinSet::new();
    for n in 0..24 {
        let (replicas, email) = (Arc::clone(&replicas), account.email.clone());
        burst.spawn(async move {
            let request = client()
                .post(replicas.apps[n % 2].url("/api/v1/auth/login"))
                .header("x-forwarded-for", format!("203.0.113.{n}"))
                .json(&serde_json::json!({ "email": email, "password": "a guess" }));
            request.send().await.expect("it answers").status().as_u16()
        });
    }
    let statuses = burst.join_all().await;
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert!((1..=3).contains(&count(401)), "{statuses:?}");
    assert_eq!(count(401) + count(429), 24, "{statuses:?}");
}

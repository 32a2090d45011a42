//! Every attempt is counted once and audited once (SR-36).

use std::sync::Arc;

use portcullis_identity::{IdentityError, Logout};
use portcullis_model::policy::Environment;
use portcullis_model::{Role, SecretString};

use crate::test_identity::{PASSWORD, TestIdentity, caller, test_identity, test_identity_with, with_demo};

/// `action outcome` of what the audit log gained while `attempt` ran.
async fn noted<T>(test: &TestIdentity, attempt: impl Future<Output = T>) -> (T, Vec<String>) {
    let attempt = Box::pin(attempt);
    let before = test.audit().await.len();
    let result = attempt.await;
    let gained = test.audit().await.split_off(before);
    (result, gained.into_iter().map(|(action, outcome)| format!("{action} {outcome}")).collect())
}

fn attempts(test: &TestIdentity, status: &str, kind: &str) -> u64 {
    let label = format!("auth_attempts_total{{status=\"{status}\",type=\"{kind}\"}} ");
    let page = test.metrics.render(false);
    page.lines().find_map(|line| line.strip_prefix(&label)).map_or(0, |n| n.parse().expect("a count"))
}

#[tokio::test]
async fn a_login_is_counted_once_with_its_statements() {
    let test = test_identity().await;
    test.register("ada").await;
    let (logins, statements) = (attempts(&test, "success", "login"), test.metrics.database_statements());
    test.login("ada@example.com", PASSWORD).await.expect("signed in");
    assert_eq!(attempts(&test, "success", "login") - logins, 1);
    // The account, the count of the attempt, then a transaction of five writes.
    assert_eq!(test.metrics.database_statements() - statements, 9);
    test.login("ada@example.com", "a wrong password").await.expect_err("wrong");
    assert_eq!((attempts(&test, "success", "login") - logins, attempts(&test, "failure", "login")), (1, 1));
}

#[tokio::test]
async fn sr_36_an_invalid_refresh_token_is_audited() {
    let test = test_identity().await;
    let (result, noted) = noted(&test, Box::pin(test.identity.sign_in.refresh("nonsense", &caller()))).await;
    assert!(matches!(result, Err(IdentityError::InvalidRefreshToken)));
    assert_eq!(noted, ["auth.refresh failure"]);
}

#[tokio::test]
async fn sr_36_a_refresh_in_the_grace_window_is_audited() {
    let test = test_identity().await;
    let tokens = test.register("ada").await.tokens.expect("signed in");
    for attempt in ["the rotation", "the same token again"] {
        let (result, noted) =
            noted(&test, Box::pin(test.identity.sign_in.refresh(tokens.refresh.expose(), &caller()))).await;
        result.expect("refreshed");
        assert_eq!(noted, ["auth.refresh success"], "{attempt}");
    }
}

#[tokio::test]
async fn sr_36_a_logout_with_an_invalid_token_is_audited() {
    let test = test_identity().await;
    let logout = Logout { session: None, refresh_token: Some(SecretString::new("nonsense")), all: false };
    let (result, noted) = noted(&test, Box::pin(test.identity.sign_in.logout(logout, &caller()))).await;
    assert!(matches!(result, Err(IdentityError::InvalidRefreshToken)));
    assert_eq!(noted, ["auth.logout failure"]);
}

#[tokio::test]
async fn sr_36_the_demo_account_is_written_down_like_any_other() {
    let test = test_identity_with(with_demo(Environment::Development)).await;
    let (sign_in, events) = noted(&test, Box::pin(test.login("demo@example.com", "a demo password"))).await;
    let sign_in = sign_in.expect("signed in");
    assert_eq!(events, ["auth.login success"]);
    let (_, events) =
        noted(&test, Box::pin(test.identity.sign_in.refresh(sign_in.tokens.refresh.expose(), &caller()))).await;
    assert_eq!(events, ["auth.refresh success"]);
    let session = test.session(&sign_in.tokens.access).await.expect("live");
    let logout = Logout { session: Some(Arc::clone(&session)), refresh_token: None, all: false };
    let (_, events) = noted(&test, Box::pin(test.identity.sign_in.logout(logout, &caller()))).await;
    assert_eq!(events, ["auth.logout success"]);
    let production = test_identity_with(with_demo(Environment::Production)).await;
    let (refused, events) = noted(&production, Box::pin(production.login("demo@example.com", "a demo password"))).await;
    assert!(matches!(refused, Err(IdentityError::DemoInProduction)));
    assert_eq!(events, ["auth.login failure"]);
}

#[tokio::test]
async fn sr_35_a_new_role_takes_effect_in_open_sessions() {
    let test = test_identity().await;
    let registered = test.register("ada").await;
    let tokens = registered.tokens.expect("signed in");
    assert_eq!(test.session(&tokens.access).await.expect("live").role, Role::Developer);
    let mut tx = test.store.begin().await.expect("tx");
    tx.set_role(registered.user.id, Role::Viewer, test.clock.now()).await.expect("set");
    tx.commit().await.expect("committed");
    let session = test.session(&tokens.access).await.expect("still live");
    assert_eq!((session.role, session.permissions.is_empty()), (Role::Viewer, true));
}

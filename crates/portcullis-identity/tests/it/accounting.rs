//! Every attempt is counted once and written down once (requirement 36).

use std::sync::Arc;

use portcullis_identity::{IdentityError, Logout};
use portcullis_model::policy::Environment;
use portcullis_model::{Role, SecretString};

use crate::house::{House, PASSWORD, caller, house, house_with, with_demo};

/// `action outcome` of what the audit log gained while `attempt` ran.
async fn noted<T>(house: &House, attempt: impl Future<Output = T>) -> (T, Vec<String>) {
    let attempt = Box::pin(attempt);
    let before = house.audit().await.len();
    let result = attempt.await;
    let gained = house.audit().await.split_off(before);
    (result, gained.into_iter().map(|(action, outcome)| format!("{action} {outcome}")).collect())
}

fn attempts(house: &House, status: &str, kind: &str) -> u64 {
    let label = format!("auth_attempts_total{{status=\"{status}\",type=\"{kind}\"}} ");
    let page = house.metrics.render(false);
    page.lines().find_map(|line| line.strip_prefix(&label)).map_or(0, |n| n.parse().expect("a count"))
}

#[tokio::test]
async fn one_login_moves_its_counter_by_one_and_the_database_histogram_by_its_statements() {
    let house = house().await;
    house.register("ada").await;
    let (logins, statements) = (attempts(&house, "success", "login"), house.metrics.database_statements());
    house.login("ada@example.com", PASSWORD).await.expect("signed in");
    assert_eq!(attempts(&house, "success", "login") - logins, 1);
    // The account, then a transaction of three writes.
    assert_eq!(house.metrics.database_statements() - statements, 6);
    house.login("ada@example.com", "a wrong password").await.expect_err("wrong");
    assert_eq!((attempts(&house, "success", "login") - logins, attempts(&house, "failure", "login")), (1, 1));
}

#[tokio::test]
async fn sr_36_a_refresh_token_that_is_none_is_written_down_as_a_failure() {
    let house = house().await;
    let (result, noted) = noted(&house, Box::pin(house.identity.sign_in.refresh("nonsense", &caller()))).await;
    assert!(matches!(result, Err(IdentityError::InvalidRefreshToken)));
    assert_eq!(noted, ["auth.refresh failure"]);
}

#[tokio::test]
async fn sr_36_a_refresh_within_the_grace_window_is_written_down_like_the_first() {
    let house = house().await;
    let tokens = house.register("ada").await.tokens.expect("signed in");
    for attempt in ["the rotation", "the same token again"] {
        let (result, noted) =
            noted(&house, Box::pin(house.identity.sign_in.refresh(tokens.refresh.expose(), &caller()))).await;
        result.expect("refreshed");
        assert_eq!(noted, ["auth.refresh success"], "{attempt}");
    }
}

#[tokio::test]
async fn sr_36_a_logout_with_a_token_that_is_none_is_written_down_as_a_failure() {
    let house = house().await;
    let logout = Logout { session: None, refresh_token: Some(SecretString::new("nonsense")), all: false };
    let (result, noted) = noted(&house, Box::pin(house.identity.sign_in.logout(logout, &caller()))).await;
    assert!(matches!(result, Err(IdentityError::InvalidRefreshToken)));
    assert_eq!(noted, ["auth.logout failure"]);
}

#[tokio::test]
async fn sr_36_the_demo_account_is_written_down_like_any_other() {
    let house = house_with(with_demo(Environment::Development)).await;
    let (sign_in, events) = noted(&house, Box::pin(house.login("demo@example.com", "a demo password"))).await;
    let sign_in = sign_in.expect("signed in");
    assert_eq!(events, ["auth.login success"]);
    let (_, events) =
        noted(&house, Box::pin(house.identity.sign_in.refresh(sign_in.tokens.refresh.expose(), &caller()))).await;
    assert_eq!(events, ["auth.refresh success"]);
    let session = house.session(&sign_in.tokens.access).await.expect("live");
    let logout = Logout { session: Some(Arc::clone(&session)), refresh_token: None, all: false };
    let (_, events) = noted(&house, Box::pin(house.identity.sign_in.logout(logout, &caller()))).await;
    assert_eq!(events, ["auth.logout success"]);
    let production = house_with(with_demo(Environment::Production)).await;
    let (refused, events) = noted(&production, Box::pin(production.login("demo@example.com", "a demo password"))).await;
    assert!(matches!(refused, Err(IdentityError::DemoInProduction)));
    assert_eq!(events, ["auth.login failure"]);
}

#[tokio::test]
async fn sr_35_a_change_of_role_is_in_force_at_once_in_a_session_that_is_open() {
    let house = house().await;
    let registered = house.register("ada").await;
    let tokens = registered.tokens.expect("signed in");
    assert_eq!(house.session(&tokens.access).await.expect("live").role, Role::Developer);
    let mut tx = house.store.begin().await.expect("tx");
    tx.set_role(registered.user.id, Role::Viewer, house.clock.now()).await.expect("set");
    tx.commit().await.expect("committed");
    let session = house.session(&tokens.access).await.expect("still live");
    assert_eq!((session.role, session.permissions.is_empty()), (Role::Viewer, true));
}

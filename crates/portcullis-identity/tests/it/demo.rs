use std::sync::Arc;
use std::time::Duration;

use portcullis_identity::{IdentityError, Logout, ProfileInput};
use portcullis_model::Role;
use portcullis_model::policy::Environment;

use crate::house::{DAY, caller, house, house_with, with_demo};

const EMAIL: &str = "demo@example.com";
const PASSWORD: &str = "a demo password";

#[tokio::test]
async fn in_development_the_demo_account_is_an_administrator_that_no_table_knows() {
    let house = house_with(with_demo(Environment::Development)).await;
    let sign_in = house.login(EMAIL, PASSWORD).await.expect("signed in");
    assert_eq!(sign_in.user.role, Role::Admin);
    let again = house.login(EMAIL, PASSWORD).await.expect("signed in");
    assert_eq!(sign_in.user.id, again.user.id, "its id is fixed");
    assert!(house.store.user_by_id(sign_in.user.id).await.expect("read").is_none());
    let session = house.session(&sign_in.tokens.access).await.expect("live");
    assert!(session.demo);
    assert_eq!(house.identity.users.profile(&session).await.expect("profile").email.as_str(), EMAIL);
    let refreshed =
        house.identity.sign_in.refresh(sign_in.tokens.refresh.expose(), &caller()).await.expect("refreshed");
    assert_ne!(refreshed.refresh.expose(), sign_in.tokens.refresh.expose(), "rotated");
    let change = ProfileInput { first_name: Some("Eve".to_owned()), ..Default::default() };
    assert!(matches!(
        house.identity.users.update_profile(&session, change, &caller()).await,
        Err(IdentityError::DemoReadOnly)
    ));
    let logout = Logout { session: Some(Arc::clone(&session)), refresh_token: None, all: false };
    house.identity.sign_in.logout(logout, &caller()).await.expect("logged out");
    assert!(house.session(&refreshed.access).await.is_none());
    assert!(house.session(&again.tokens.access).await.is_some());
    assert!(matches!(house.login(EMAIL, "wrong").await, Err(IdentityError::InvalidCredentials)));
}

#[tokio::test]
async fn in_production_the_pair_is_refused_by_name_and_demo_tokens_are_worthless() {
    let development = house_with(with_demo(Environment::Development)).await;
    let token = development.login(EMAIL, PASSWORD).await.expect("signed in").tokens;
    let production = house_with(with_demo(Environment::Production)).await;
    assert!(matches!(production.login(EMAIL, PASSWORD).await, Err(IdentityError::DemoInProduction)));
    assert!(matches!(production.login(EMAIL, "wrong").await, Err(IdentityError::InvalidCredentials)));
    assert!(production.session(&token.access).await.is_none());
}

#[tokio::test]
async fn disabled_the_pair_is_an_unknown_account() {
    let house = house().await;
    assert!(matches!(house.login(EMAIL, PASSWORD).await, Err(IdentityError::InvalidCredentials)));
}

#[tokio::test]
async fn a_demo_session_ends_by_its_refresh_token_alone() {
    let house = house_with(with_demo(Environment::Development)).await;
    let tokens = house.login(EMAIL, PASSWORD).await.expect("signed in").tokens;
    let logout = Logout { session: None, refresh_token: Some(tokens.refresh.clone()), all: false };
    house.identity.sign_in.logout(logout, &caller()).await.expect("logged out");
    assert!(house.session(&tokens.access).await.is_none());
    assert!(house.identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await.is_err());
}

#[tokio::test]
async fn sr_21_a_demo_session_has_an_idle_and_an_absolute_end() {
    let house = house_with(with_demo(Environment::Development)).await;
    let idle = house.login(EMAIL, PASSWORD).await.expect("signed in").tokens;
    house.clock.advance(7 * DAY + Duration::from_secs(1));
    assert!(
        house.identity.sign_in.refresh(idle.refresh.expose(), &caller()).await.is_err(),
        "idle for more than seven days"
    );
    let mut tokens = house.login(EMAIL, PASSWORD).await.expect("signed in").tokens;
    let mut days = 0;
    while let Ok(next) = house.identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await {
        assert!(house.session(&next.access).await.is_some(), "refreshed on day {days}, but the session has ended");
        tokens = next;
        house.clock.advance(DAY);
        days += 1;
        assert!(days <= 30, "alive after {days} days");
    }
    assert_eq!(days, 30);
}

#[tokio::test]
async fn sr_32_two_refreshes_of_one_demo_token_get_one_successor_and_a_later_one_ends_the_session() {
    let house = house_with(with_demo(Environment::Development)).await;
    let first = house.login(EMAIL, PASSWORD).await.expect("signed in").tokens;
    let second = house.identity.sign_in.refresh(first.refresh.expose(), &caller()).await.expect("refreshed");
    let twin =
        house.identity.sign_in.refresh(first.refresh.expose(), &caller()).await.expect("within the grace window");
    assert_eq!(second.refresh.expose(), twin.refresh.expose());
    house.clock.advance(Duration::from_secs(11));
    assert!(house.identity.sign_in.refresh(first.refresh.expose(), &caller()).await.is_err());
    assert!(house.session(&second.access).await.is_none(), "reuse left the session open");
}

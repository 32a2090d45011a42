use std::sync::Arc;

use portcullis_identity::{IdentityError, Logout, ProfileInput};
use portcullis_model::Role;
use portcullis_model::policy::Environment;

use crate::house::{caller, house, house_with, with_demo};

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
    assert_eq!(house.identity.profile(&session).await.expect("profile").email.as_str(), EMAIL);
    let refreshed = house.identity.refresh(sign_in.tokens.refresh.expose(), &caller()).await.expect("refreshed");
    assert!(house.identity.refresh(sign_in.tokens.refresh.expose(), &caller()).await.is_err(), "rotated");
    let change = ProfileInput { first_name: Some("Eve".to_owned()), ..Default::default() };
    assert!(matches!(
        house.identity.update_profile(&session, change, &caller()).await,
        Err(IdentityError::DemoReadOnly)
    ));
    let logout = Logout { session: Some(Arc::clone(&session)), refresh_token: None, all: false };
    house.identity.logout(logout, &caller()).await.expect("logged out");
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

//! Changing one's own password: who may, what ends and what stays.

use portcullis_identity::{ChangePasswordInput, IdentityError};
use portcullis_model::policy::Environment;
use portcullis_model::{SecretString, SessionState};

use crate::house::{House, PASSWORD, caller, house, house_with, with_demo};

const NEW: &str = "a quite different secret";

fn input(current: &str, new: &str) -> ChangePasswordInput {
    ChangePasswordInput {
        current: SecretString::new(current),
        new: SecretString::new(new),
        confirm: SecretString::new(new),
    }
}

async fn change(house: &House, session: &SessionState, current: &str) -> Result<(), IdentityError> {
    house.identity.passwords.change(session, &input(current, NEW), &caller()).await
}

#[tokio::test]
async fn sr_05_a_change_needs_the_current_password() {
    let house = house().await;
    let tokens = house.register("ada").await.tokens.expect("signed in");
    let session = house.session(&tokens.access).await.expect("live");
    for wrong in ["a wrong password", "", NEW] {
        let result = change(&house, &session, wrong).await;
        assert!(matches!(result, Err(IdentityError::CurrentPasswordIncorrect)), "{result:?}");
    }
    assert!(house.login("ada@example.com", NEW).await.is_err());
    assert_eq!(house.audit().await.iter().filter(|(action, _)| action == "auth.change_password").count(), 3);
    let hashes = house.identity.password_hasher.hashes();
    let mut differs = input(PASSWORD, NEW);
    differs.confirm = SecretString::new("something else");
    let result = house.identity.passwords.change(&session, &differs, &caller()).await;
    assert!(matches!(result, Err(IdentityError::PasswordsDoNotMatch)), "{result:?}");
    let result = house.identity.passwords.change(&session, &input(PASSWORD, "short"), &caller()).await;
    assert!(matches!(result, Err(IdentityError::Validation(_))), "{result:?}");
    assert_eq!(house.identity.password_hasher.hashes(), hashes, "hashed for values that are refused");
}

#[tokio::test]
async fn sr_22_a_change_ends_every_session_but_this_one_whose_tokens_go_on() {
    let house = house().await;
    let here = house.register("ada").await.tokens.expect("signed in");
    let there = house.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    let stranger = house.register("eve").await.tokens.expect("signed in");
    let session = house.session(&here.access).await.expect("live");
    change(&house, &session, PASSWORD).await.expect("changed");
    assert!(house.session(&here.access).await.is_some(), "this session's access token died");
    assert!(house.session(&there.access).await.is_none(), "another session's access token lives");
    assert!(house.session(&stranger.access).await.is_some(), "somebody else's session ended");
    assert!(house.identity.sign_in.refresh(there.refresh.expose(), &caller()).await.is_err());
    let fresh = house.identity.sign_in.refresh(here.refresh.expose(), &caller()).await.expect("this session refreshes");
    assert!(house.session(&fresh.access).await.is_some());
    assert!(house.login("ada@example.com", PASSWORD).await.is_err(), "the old password works");
    house.login("ada@example.com", NEW).await.expect("the new one works");
    assert!(house.audit().await.contains(&("auth.change_password".to_owned(), "success".to_owned())));
}

#[tokio::test]
async fn sr_18_the_owner_is_told_by_mail_that_the_password_is_another_now() {
    let house = house().await;
    let tokens = house.register("ada").await.tokens.expect("signed in");
    house.mails().await;
    let session = house.session(&tokens.access).await.expect("live");
    change(&house, &session, "a wrong password").await.expect_err("wrong");
    assert!(house.mails().await.0.is_empty());
    change(&house, &session, PASSWORD).await.expect("changed");
    assert_eq!(house.mails().await, (vec!["password_changed".to_owned()], None));
}

#[tokio::test]
async fn sr_12_a_change_of_the_password_ends_reset_links() {
    let house = house().await;
    let tokens = house.register("ada").await.tokens.expect("signed in");
    house.mails().await;
    house.identity.passwords.forgot("ada@example.com", &caller()).await.expect("asked");
    let link = house.mailed_token("reset_password").await;
    let session = house.session(&tokens.access).await.expect("live");
    change(&house, &session, PASSWORD).await.expect("changed");
    let result = crate::reset_password::reset(&house, &link, "yet another secret").await;
    assert!(matches!(result, Err(IdentityError::InvalidResetToken)), "{result:?}");
}

/// Sign-ins with the old password and changes of it at the same time: whoever
/// signed in before the change was ended by it, whoever came after was refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_a_login_under_way_with_the_old_password_does_not_outlive_the_change() {
    let house = house().await;
    let mut password = PASSWORD.to_owned();
    let here = house.register("ada").await.tokens.expect("signed in");
    for round in 0..6 {
        let session = house.session(&here.access).await.expect("live");
        let new = format!("{NEW} {round}");
        let change = input(&password, &new);
        let logins = (0..4).map(|_| house.login("ada@example.com", &password));
        let caller = caller();
        let (changed, logins) = tokio::join!(
            house.identity.passwords.change(&session, &change, &caller),
            futures_util::future::join_all(logins)
        );
        changed.expect("changed");
        for login in logins.into_iter().flatten() {
            assert!(house.session(&login.tokens.access).await.is_none(), "round {round}: it outlived the change");
        }
        password = new;
    }
}

#[tokio::test]
async fn of_two_changes_at_once_with_the_same_current_password_one_is_made() {
    let house = house().await;
    let tokens = house.register("ada").await.tokens.expect("signed in");
    let session = house.session(&tokens.access).await.expect("live");
    let (one, two) = (input(PASSWORD, "the first new one"), input(PASSWORD, "the second new one"));
    let caller = caller();
    let (one, two) = tokio::join!(
        house.identity.passwords.change(&session, &one, &caller),
        house.identity.passwords.change(&session, &two, &caller)
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
}

#[tokio::test]
async fn the_demo_accounts_password_cannot_be_changed() {
    let house = house_with(with_demo(Environment::Development)).await;
    let tokens = house.login("demo@example.com", "a demo password").await.expect("signed in").tokens;
    let session = house.session(&tokens.access).await.expect("live");
    let result = change(&house, &session, "a demo password").await;
    assert!(matches!(result, Err(IdentityError::DemoReadOnly)), "{result:?}");
}

//! Changing one's own password: who may, what ends and what stays.

use std::sync::Arc;

use portcullis_identity::{ChangePasswordInput, IdentityError};
use portcullis_model::policy::Environment;
use portcullis_model::{SecretString, SessionState};

use crate::test_identity::{PASSWORD, TestIdentity, caller, test_identity, test_identity_with, with_demo};

const NEW: &str = "a quite different secret";

fn input(current: &str, new: &str) -> ChangePasswordInput {
    ChangePasswordInput {
        current: SecretString::new(current),
        new: SecretString::new(new),
        confirm: SecretString::new(new),
    }
}

async fn change(test: &TestIdentity, session: &Arc<SessionState>, current: &str) -> Result<(), IdentityError> {
    test.identity.passwords.change(session, &input(current, NEW), &caller()).await
}

#[tokio::test]
async fn sr_05_a_change_needs_the_current_password() {
    let test = test_identity().await;
    let tokens = test.register("ada").await.tokens.expect("signed in");
    let session = test.session(&tokens.access).await.expect("live");
    for wrong in ["a wrong password", "", NEW] {
        let result = change(&test, &session, wrong).await;
        assert!(matches!(result, Err(IdentityError::CurrentPasswordIncorrect)), "{result:?}");
    }
    assert!(test.login("ada@example.com", NEW).await.is_err());
    assert_eq!(test.audit().await.iter().filter(|(action, _)| action == "auth.change_password").count(), 3);
    let hashes = test.identity.password_hasher.hashes();
    let mut differs = input(PASSWORD, NEW);
    differs.confirm = SecretString::new("something else");
    let result = test.identity.passwords.change(&session, &differs, &caller()).await;
    assert!(matches!(result, Err(IdentityError::PasswordsDoNotMatch)), "{result:?}");
    let result = test.identity.passwords.change(&session, &input(PASSWORD, "short"), &caller()).await;
    assert!(matches!(result, Err(IdentityError::Validation(_))), "{result:?}");
    assert_eq!(test.identity.password_hasher.hashes(), hashes, "hashed for values that are refused");
}

#[tokio::test]
async fn sr_22_a_password_change_ends_every_other_session() {
    let test = test_identity().await;
    let here = test.register("ada").await.tokens.expect("signed in");
    let there = test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    let stranger = test.register("eve").await.tokens.expect("signed in");
    let session = test.session(&here.access).await.expect("live");
    change(&test, &session, PASSWORD).await.expect("changed");
    assert!(test.session(&here.access).await.is_some(), "this session's access token died");
    assert!(test.session(&there.access).await.is_none(), "another session's access token lives");
    assert!(test.session(&stranger.access).await.is_some(), "the session of another user ended");
    assert!(test.identity.sign_in.refresh(there.refresh.expose(), &caller()).await.is_err());
    let fresh = test.identity.sign_in.refresh(here.refresh.expose(), &caller()).await.expect("this session refreshes");
    assert!(test.session(&fresh.access).await.is_some());
    assert!(test.login("ada@example.com", PASSWORD).await.is_err(), "the old password works");
    test.login("ada@example.com", NEW).await.expect("the new one works");
    assert!(test.audit().await.contains(&("auth.change_password".to_owned(), "success".to_owned())));
}

#[tokio::test]
async fn sr_18_a_mail_reports_the_change_of_the_password() {
    let test = test_identity().await;
    let registered = test.register("ada").await;
    test.confirm(registered.user.id).await;
    let tokens = registered.tokens.expect("signed in");
    test.mails().await;
    let session = test.session(&tokens.access).await.expect("live");
    change(&test, &session, "a wrong password").await.expect_err("wrong");
    assert!(test.mails().await.0.is_empty());
    change(&test, &session, PASSWORD).await.expect("changed");
    assert_eq!(test.mails().await, (vec!["password_changed".to_owned()], None));
}

#[tokio::test]
async fn sr_12_a_change_of_the_password_ends_reset_links() {
    let test = test_identity().await;
    let tokens = test.register("ada").await.tokens.expect("signed in");
    test.mails().await;
    test.identity.passwords.forgot("ada@example.com", &caller()).await.expect("asked");
    let link = test.mailed_token("reset_password").await;
    let session = test.session(&tokens.access).await.expect("live");
    change(&test, &session, PASSWORD).await.expect("changed");
    let result = crate::reset_password::reset(&test, &link, "yet another secret").await;
    assert!(matches!(result, Err(IdentityError::InvalidResetToken)), "{result:?}");
}

/// Sign-ins with the old password run at the same time as a change of it. The change ends every session that began before
/// it and refuses every sign-in after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_a_running_login_fails_after_a_password_change() {
    let test = test_identity().await;
    let mut password = PASSWORD.to_owned();
    let here = test.register("ada").await.tokens.expect("signed in");
    for round in 0..6 {
        let session = test.session(&here.access).await.expect("live");
        let new = format!("{NEW} {round}");
        let change = input(&password, &new);
        let logins = (0..4).map(|_| test.login("ada@example.com", &password));
        let caller = caller();
        let (changed, logins) = tokio::join!(
            test.identity.passwords.change(&session, &change, &caller),
            futures_util::future::join_all(logins)
        );
        changed.expect("changed");
        for login in logins.into_iter().flatten() {
            assert!(test.session(&login.tokens.access).await.is_none(), "round {round}: it outlived the change");
        }
        password = new;
    }
}

#[tokio::test]
async fn of_two_concurrent_password_changes_one_succeeds() {
    let test = test_identity().await;
    let tokens = test.register("ada").await.tokens.expect("signed in");
    let session = test.session(&tokens.access).await.expect("live");
    let (one, two) = (input(PASSWORD, "the first new one"), input(PASSWORD, "the second new one"));
    let caller = caller();
    let (one, two) = tokio::join!(
        test.identity.passwords.change(&session, &one, &caller),
        test.identity.passwords.change(&session, &two, &caller)
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
}

#[tokio::test]
async fn the_demo_accounts_password_cannot_be_changed() {
    let test = test_identity_with(with_demo(Environment::Development)).await;
    let tokens = test.login("demo@example.com", "a demo password").await.expect("signed in").tokens;
    let session = test.session(&tokens.access).await.expect("live");
    let result = change(&test, &session, "a demo password").await;
    assert!(matches!(result, Err(IdentityError::DemoReadOnly)), "{result:?}");
}

//! Forgotten passwords: the mail, the link, and what strangers learn by asking.

use portcullis_identity::{IdentityError, ResetPasswordInput};
use portcullis_model::SecretString;

use crate::test_identity::{PASSWORD, TestIdentity, caller, test_identity};

const NEW: &str = "a quite different secret";

pub(crate) async fn reset(test: &TestIdentity, token: &str, new: &str) -> Result<(), IdentityError> {
    let input = ResetPasswordInput {
        token: SecretString::new(token),
        new: SecretString::new(new),
        confirm: SecretString::new(new),
    };
    test.identity.passwords.reset(&input, &caller()).await
}

async fn request_reset(test: &TestIdentity, email: &str) {
    test.identity.passwords.forgot(email, &caller()).await.expect("the same answer for everybody");
}

/// A test with one user, whose first mail has been read.
async fn with_ada() -> TestIdentity {
    let test = test_identity().await;
    test.register("ada").await;
    test.mails().await;
    test
}

async fn refused(test: &TestIdentity, token: &str) -> bool {
    matches!(reset(test, token, NEW).await, Err(IdentityError::InvalidResetToken))
}

#[tokio::test]
async fn sr_12_a_reset_link_works_once_and_starts_no_session() {
    let test = with_ada().await;
    let before = test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    request_reset(&test, " ADA@Example.com ").await;
    let token = test.mailed_token("reset_password").await;
    let stored = test.stored();
    assert!(!stored.windows(token.len()).any(|window| window == token.as_bytes()), "the token is in the database");
    assert!(test.session(&before.access).await.is_some(), "asking alone ends nothing");
    reset(&test, &token, NEW).await.expect("reset");
    assert!(test.session(&before.access).await.is_none(), "an access token outlived the reset");
    assert!(test.identity.sign_in.refresh(before.refresh.expose(), &caller()).await.is_err());
    let email = portcullis_model::Email::parse("ada@example.com").expect("valid");
    let ada = test.store.credentials_by_email(&email).await.expect("read").expect("known").user;
    assert!(ada.is_email_verified(), "the mail arrived, so the address is right");
    assert!(test.store.list_sessions(ada.id, test.clock.now()).await.expect("read").is_empty());
    assert!(test.login("ada@example.com", PASSWORD).await.is_err(), "the old password works");
    test.login("ada@example.com", NEW).await.expect("the new one works");
    assert!(refused(&test, &token).await, "used twice");
    let (templates, _) = test.mails().await;
    assert_eq!(templates, ["password_reset"], "SR-18");
    let events = test.audit().await;
    for outcome in ["success", "failure"] {
        assert!(events.contains(&("auth.reset_password".to_owned(), outcome.to_owned())), "{events:?}");
    }
}

#[tokio::test]
async fn sr_12_a_reset_link_expires_after_half_an_hour() {
    let test = with_ada().await;
    request_reset(&test, "ada@example.com").await;
    let token = test.mailed_token("reset_password").await;
    test.clock.advance(std::time::Duration::from_secs(30 * 60 + 1));
    assert!(refused(&test, &token).await);
}

#[tokio::test]
async fn sr_12_a_foreign_token_sets_no_password_and_costs_no_hash() {
    let test = with_ada().await;
    test.identity.registration.resend_verification("ada@example.com", &caller()).await.expect("asked");
    let verification = test.mailed_token("verify_email").await;
    let first_admin = test.identity.registration.first_administrator_token().await.expect("storage").expect("none yet");
    let hashes = test.identity.password_hasher.hashes();
    for token in [&verification, first_admin.expose(), "nonsense", "", "\0"] {
        assert!(refused(&test, token).await, "{token:?}");
    }
    assert_eq!(test.identity.password_hasher.hashes(), hashes, "anybody can keep the hashing room busy");
    test.identity.registration.verify_email(&verification, &caller()).await.expect("it still confirms the address");
    request_reset(&test, "ada@example.com").await;
    let link = test.mailed_token("reset_password").await;
    let result = test.identity.registration.verify_email(&link, &caller()).await;
    assert!(matches!(result, Err(IdentityError::InvalidVerificationToken)), "{result:?}");
}

#[tokio::test]
async fn a_refused_password_leaves_the_link_for_another_try() {
    let test = with_ada().await;
    request_reset(&test, "ada@example.com").await;
    let token = test.mailed_token("reset_password").await;
    assert!(matches!(reset(&test, &token, "short").await, Err(IdentityError::Validation(_))));
    let input = ResetPasswordInput {
        token: SecretString::new(token.as_str()),
        new: SecretString::new(NEW),
        confirm: SecretString::new("something else"),
    };
    let result = test.identity.passwords.reset(&input, &caller()).await;
    assert!(matches!(result, Err(IdentityError::PasswordsDoNotMatch)), "{result:?}");
    reset(&test, &token, NEW).await.expect("reset");
}

#[tokio::test]
async fn sr_58_a_newer_link_leaves_an_older_one_good() {
    let test = with_ada().await;
    request_reset(&test, "ada@example.com").await;
    let older = test.mailed_token("reset_password").await;
    request_reset(&test, "ada@example.com").await;
    let newer = test.mailed_token("reset_password").await;
    reset(&test, &older, NEW).await.expect("reset");
    assert!(refused(&test, &newer).await, "a new password ends every link");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_12_of_many_who_use_one_link_at_once_one_sets_the_password() {
    let test = with_ada().await;
    request_reset(&test, "ada@example.com").await;
    let token = test.mailed_token("reset_password").await;
    let new: Vec<String> = (0..4).map(|n| format!("{NEW} {n}")).collect();
    let results = futures_util::future::join_all(new.iter().map(|new| reset(&test, &token, new))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(IdentityError::InvalidResetToken))));
}

#[tokio::test]
async fn sr_10_a_requested_mail_costs_the_same_for_every_address() {
    let test = test_identity().await;
    test.register("ada").await;
    let sleeper = test.register("sleeper").await.user.id;
    let confirmed = test.register("confirmed").await.user.id;
    let mut tx = test.store.begin().await.expect("tx");
    tx.set_active(sleeper, false, test.clock.now()).await.expect("set");
    tx.set_email_verified(confirmed, test.clock.now()).await.expect("set");
    tx.commit().await.expect("committed");
    test.mails().await;
    let known = ["ada@example.com", "confirmed@example.com", "sleeper@example.com"];
    let unknown = ["nobody@example.com", "ada@example.org"];
    let hashes = test.identity.password_hasher.hashes();
    let mut costs = Vec::new();
    for email in known.into_iter().chain(unknown) {
        let before = test.metrics.database_statements();
        test.identity.passwords.forgot(email, &caller()).await.expect("asked");
        let between = test.metrics.database_statements();
        test.identity.registration.resend_verification(email, &caller()).await.expect("asked");
        costs.push((between - before, test.metrics.database_statements() - between));
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    assert_eq!(test.identity.password_hasher.hashes(), hashes);
    let (mut templates, _) = test.mails().await;
    templates.sort_unstable();
    assert_eq!(templates, ["reset_password", "reset_password", "verify_email"]);
}

#[tokio::test]
async fn a_text_that_is_no_address_is_refused_and_not_audited() {
    let test = test_identity().await;
    let noted = test.audit().await.len();
    for no_address in ["not an address", "ada\0@example.com", "", &"a".repeat(300)] {
        let result = test.identity.passwords.forgot(no_address, &caller()).await;
        assert!(matches!(result, Err(IdentityError::Validation(_))), "{result:?}");
    }
    assert_eq!(test.audit().await.len(), noted, "stored something for a text that is no address");
}

#[tokio::test]
async fn sr_11_a_user_gets_at_most_three_reset_mails_at_once() {
    let test = with_ada().await;
    for _ in 0..8 {
        request_reset(&test, "ada@example.com").await;
    }
    let (templates, token) = test.mails().await;
    assert_eq!(templates, ["reset_password"; 3]);
    reset(&test, &token.expect("in the fragment"), NEW).await.expect("reset");
}

#[tokio::test]
async fn a_disabled_accounts_link_sets_nothing() {
    let test = test_identity().await;
    let ada = test.register("ada").await.user.id;
    test.mails().await;
    request_reset(&test, "ada@example.com").await;
    let token = test.mailed_token("reset_password").await;
    let mut tx = test.store.begin().await.expect("tx");
    tx.set_active(ada, false, test.clock.now()).await.expect("set");
    tx.commit().await.expect("committed");
    assert!(refused(&test, &token).await);
}

//! Forgotten passwords: the mail, the link, and what strangers learn by asking.

use portcullis_identity::{IdentityError, ResetPasswordInput};
use portcullis_model::SecretString;

use crate::house::{House, PASSWORD, caller, house};

const NEW: &str = "a quite different secret";

pub(crate) async fn reset(house: &House, token: &str, new: &str) -> Result<(), IdentityError> {
    let input = ResetPasswordInput {
        token: SecretString::new(token),
        new: SecretString::new(new),
        confirm: SecretString::new(new),
    };
    house.identity.passwords.reset(&input, &caller()).await
}

async fn forgot(house: &House, email: &str) {
    house.identity.passwords.forgot(email, &caller()).await.expect("the same answer for everybody");
}

/// A house with one person, whose first mail has been read.
async fn with_ada() -> House {
    let house = house().await;
    house.register("ada").await;
    house.mails().await;
    house
}

async fn refused(house: &House, token: &str) -> bool {
    matches!(reset(house, token, NEW).await, Err(IdentityError::InvalidResetToken))
}

#[tokio::test]
async fn sr_12_a_reset_link_sets_the_password_once_and_signs_nobody_in() {
    let house = with_ada().await;
    let before = house.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    forgot(&house, " ADA@Example.com ").await;
    let token = house.mailed_token("reset_password").await;
    let stored = house.stored();
    assert!(!stored.windows(token.len()).any(|window| window == token.as_bytes()), "the token is in the database");
    assert!(house.session(&before.access).await.is_some(), "asking alone ends nothing");
    reset(&house, &token, NEW).await.expect("reset");
    assert!(house.session(&before.access).await.is_none(), "an access token outlived the reset");
    assert!(house.identity.sign_in.refresh(before.refresh.expose(), &caller()).await.is_err());
    let email = portcullis_model::Email::parse("ada@example.com").expect("valid");
    let ada = house.store.credentials_by_email(&email).await.expect("read").expect("known").user;
    assert!(ada.is_email_verified(), "the mail arrived, so the address is right");
    assert!(house.store.list_sessions(ada.id, house.clock.now()).await.expect("read").is_empty());
    assert!(house.login("ada@example.com", PASSWORD).await.is_err(), "the old password works");
    house.login("ada@example.com", NEW).await.expect("the new one works");
    assert!(refused(&house, &token).await, "used twice");
    let (templates, _) = house.mails().await;
    assert_eq!(templates, ["password_changed"], "requirement 18");
    let events = house.audit().await;
    for outcome in ["success", "failure"] {
        assert!(events.contains(&("auth.reset_password".to_owned(), outcome.to_owned())), "{events:?}");
    }
}

#[tokio::test]
async fn sr_12_a_reset_link_expires_after_half_an_hour() {
    let house = with_ada().await;
    forgot(&house, "ada@example.com").await;
    let token = house.mailed_token("reset_password").await;
    house.clock.advance(std::time::Duration::from_secs(30 * 60 + 1));
    assert!(refused(&house, &token).await);
}

#[tokio::test]
async fn sr_12_a_token_of_another_purpose_or_none_sets_no_password_and_costs_no_hash() {
    let house = with_ada().await;
    house.identity.registration.resend_verification("ada@example.com", &caller()).await.expect("asked");
    let verification = house.mailed_token("verify_email").await;
    let first_admin =
        house.identity.registration.first_administrator_token().await.expect("storage").expect("none yet");
    let hashes = house.identity.password_hasher.hashes();
    for token in [&verification, first_admin.expose(), "nonsense", "", "\0"] {
        assert!(refused(&house, token).await, "{token:?}");
    }
    assert_eq!(house.identity.password_hasher.hashes(), hashes, "anybody can keep the hashing room busy");
    house.identity.registration.verify_email(&verification, &caller()).await.expect("it still confirms the address");
    forgot(&house, "ada@example.com").await;
    let link = house.mailed_token("reset_password").await;
    let result = house.identity.registration.verify_email(&link, &caller()).await;
    assert!(matches!(result, Err(IdentityError::InvalidVerificationToken)), "{result:?}");
}

#[tokio::test]
async fn a_refused_password_leaves_the_link_for_another_try() {
    let house = with_ada().await;
    forgot(&house, "ada@example.com").await;
    let token = house.mailed_token("reset_password").await;
    assert!(matches!(reset(&house, &token, "short").await, Err(IdentityError::Validation(_))));
    let input = ResetPasswordInput {
        token: SecretString::new(token.as_str()),
        new: SecretString::new(NEW),
        confirm: SecretString::new("something else"),
    };
    let result = house.identity.passwords.reset(&input, &caller()).await;
    assert!(matches!(result, Err(IdentityError::PasswordsDoNotMatch)), "{result:?}");
    reset(&house, &token, NEW).await.expect("reset");
}

#[tokio::test]
async fn a_newer_link_replaces_an_older_one() {
    let house = with_ada().await;
    forgot(&house, "ada@example.com").await;
    let older = house.mailed_token("reset_password").await;
    forgot(&house, "ada@example.com").await;
    let newer = house.mailed_token("reset_password").await;
    assert!(refused(&house, &older).await);
    reset(&house, &newer, NEW).await.expect("reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_12_of_many_who_use_one_link_at_once_one_sets_the_password() {
    let house = with_ada().await;
    forgot(&house, "ada@example.com").await;
    let token = house.mailed_token("reset_password").await;
    let new: Vec<String> = (0..4).map(|n| format!("{NEW} {n}")).collect();
    let results = futures_util::future::join_all(new.iter().map(|new| reset(&house, &token, new))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(IdentityError::InvalidResetToken))));
}

#[tokio::test]
async fn sr_10_asking_for_a_mail_answers_and_costs_the_same_for_every_address() {
    let house = house().await;
    house.register("ada").await;
    let sleeper = house.register("sleeper").await.user.id;
    let confirmed = house.register("confirmed").await.user.id;
    let mut tx = house.store.begin().await.expect("tx");
    tx.set_active(sleeper, false, house.clock.now()).await.expect("set");
    tx.set_email_verified(confirmed, house.clock.now()).await.expect("set");
    tx.commit().await.expect("committed");
    house.mails().await;
    let known = ["ada@example.com", "confirmed@example.com", "sleeper@example.com"];
    let unknown = ["nobody@example.com", "ada@example.org"];
    let hashes = house.identity.password_hasher.hashes();
    let mut costs = Vec::new();
    for email in known.into_iter().chain(unknown) {
        let before = house.metrics.database_statements();
        house.identity.passwords.forgot(email, &caller()).await.expect("asked");
        let between = house.metrics.database_statements();
        house.identity.registration.resend_verification(email, &caller()).await.expect("asked");
        costs.push((between - before, house.metrics.database_statements() - between));
    }
    assert!(costs.iter().all(|cost| *cost == (4, 4)), "{costs:?}");
    assert_eq!(house.identity.password_hasher.hashes(), hashes);
    let (mut templates, _) = house.mails().await;
    templates.sort_unstable();
    assert_eq!(templates, ["reset_password", "reset_password", "verify_email"]);
    let noted = house.audit().await.len();
    for no_address in ["not an address", "ada\0@example.com", "", &"a".repeat(300)] {
        let result = house.identity.passwords.forgot(no_address, &caller()).await;
        assert!(matches!(result, Err(IdentityError::Validation(_))), "{result:?}");
    }
    assert_eq!(house.audit().await.len(), noted, "stored something for a text that is no address");
}

#[tokio::test]
async fn sr_11_one_account_gets_five_reset_mails_an_hour_and_the_last_one_works() {
    let house = with_ada().await;
    for _ in 0..8 {
        forgot(&house, "ada@example.com").await;
    }
    let (templates, token) = house.mails().await;
    assert_eq!(templates, ["reset_password"; 5]);
    reset(&house, &token.expect("in the fragment"), NEW).await.expect("reset");
}

#[tokio::test]
async fn a_disabled_accounts_link_sets_nothing() {
    let house = house().await;
    let ada = house.register("ada").await.user.id;
    house.mails().await;
    forgot(&house, "ada@example.com").await;
    let token = house.mailed_token("reset_password").await;
    let mut tx = house.store.begin().await.expect("tx");
    tx.set_active(ada, false, house.clock.now()).await.expect("set");
    tx.commit().await.expect("committed");
    assert!(refused(&house, &token).await);
}

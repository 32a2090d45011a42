//! Password guessing is slowed down and locks no user out (SR-09).

use std::time::Duration;

use portcullis_identity::{
    Actor, Caller, IdentityError, IdentityOptions, Invitation, ResetPasswordInput, SignedIn, UserProfileInput,
};
use portcullis_model::{Role, SecretString};

use crate::test_identity::{PASSWORD, TestIdentity, caller_at, options, test_identity, test_identity_with};

const HOME: &str = "192.0.2.1";

fn is_wrong(result: &Result<SignedIn, IdentityError>) -> bool {
    matches!(result, Err(IdentityError::InvalidCredentials))
}

/// How long a refused attempt must wait.
fn wait(result: &Result<SignedIn, IdentityError>) -> Option<Duration> {
    match result {
        Err(IdentityError::Throttled { retry }) => Some(*retry),
        _ => None,
    }
}

/// Guesses from very many addresses, waiting as long as it takes.
async fn storm(test: &TestIdentity, email: &str, guesses: u32) {
    for n in 0..guesses {
        let ip = std::net::Ipv4Addr::from(0xcb00_7100 + n % 250).to_string();
        loop {
            let result = test.login_at(email, "a guess", &ip).await;
            match wait(&result) {
                Some(retry) => test.clock.advance(retry),
                None => break assert!(is_wrong(&result), "{result:?}"),
            }
        }
    }
}

#[tokio::test]
async fn sr_09_waits_grow_alike_for_known_and_unknown_users() {
    let test = test_identity().await;
    test.register("ada").await;
    let mut seen = Vec::new();
    for email in ["ada@example.com", "nobody@example.com"] {
        let mut waits = Vec::new();
        for _ in 0..5 {
            assert!(is_wrong(&test.login(email, "a guess").await));
        }
        for _ in 0..4 {
            let hashes = test.identity.password_hasher.hashes();
            let refused = test.login(email, "a guess").await;
            let retry = wait(&refused).expect("it must wait");
            assert_eq!(test.identity.password_hasher.hashes(), hashes, "hashed what must wait");
            waits.push(retry.as_secs_f64().round());
            test.clock.advance(retry);
            assert!(is_wrong(&test.login(email, "a guess").await), "after the wait it is tried");
        }
        seen.push(waits);
    }
    assert_eq!(seen[0], [1.0, 2.0, 4.0, 8.0]);
    assert_eq!(seen[0], seen[1], "unknown accounts wait alike");
}

#[tokio::test]
async fn sr_09_a_success_ends_the_waits_of_its_client() {
    let test = test_identity().await;
    test.register("ada").await;
    for _ in 0..5 {
        assert!(is_wrong(&test.login("ada@example.com", "a guess").await));
    }
    assert!(wait(&test.login("ada@example.com", PASSWORD).await).is_some(), "the right one waits too");
    assert!(test.login_at("ada@example.com", PASSWORD, "198.51.100.7").await.is_ok(), "elsewhere nothing failed");
    test.clock.advance(Duration::from_secs(60));
    assert!(test.login("ada@example.com", PASSWORD).await.is_ok());
    for _ in 0..4 {
        assert!(is_wrong(&test.login("ada@example.com", "a guess").await), "counted from the beginning");
    }
    assert!(test.login("ada@example.com", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn sr_62_a_client_that_tries_many_accounts_delays_no_known_user() {
    let test = test_identity().await;
    test.register("ada").await;
    let mut free = 0;
    let retry = loop {
        match wait(&test.login(&format!("nobody{free}@example.com"), "a guess").await) {
            Some(retry) => break retry,
            None => free += 1,
        }
    };
    assert!(free >= 50 && retry <= Duration::from_secs(30), "{free} failures were free, then {retry:?}");
    assert!(is_wrong(&test.login_at("somebody@example.com", "a guess", "198.51.100.7").await));
    assert!(test.login("ada@example.com", PASSWORD).await.is_ok(), "she has signed in from there before");
}

#[tokio::test]
async fn sr_62_a_privacy_address_is_a_known_client() {
    let test = test_identity().await;
    test.register("ada").await;
    assert!(test.login_at("ada@example.com", PASSWORD, "2001:db8:1:2::5").await.is_ok());
    for n in 0..10 {
        let stranger = format!("203.0.113.{n}");
        assert!(is_wrong(&test.login_at("ada@example.com", "a guess", &stranger).await));
    }
    assert!(wait(&test.login_at("ada@example.com", PASSWORD, "2001:db8:1:3::5").await).is_some());
    assert!(test.login_at("ada@example.com", PASSWORD, "2001:db8:1:2:f00::1").await.is_ok());
}

#[tokio::test]
async fn sr_65_a_sign_in_whose_client_hangs_up_is_counted_and_audited() {
    let test = test_identity().await;
    test.register("ada").await;
    let (events, statements) = (test.audit().await.len(), test.metrics.database_statements());
    let mut guess = Box::pin(test.login_at("ada@example.com", "a guess", "203.0.113.9"));
    // Until the account was read and the attempt counted.
    while test.metrics.database_statements() < statements + 2 && futures_util::poll!(&mut guess).is_pending() {
        tokio::task::yield_now().await;
    }
    drop(guess);
    while test.audit().await.len() == events {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        test.audit().await.last().map(|(action, outcome)| (&**action, &**outcome)),
        Some(("auth.login", "failure"))
    );
    for _ in 0..4 {
        assert!(is_wrong(&test.login_at("ada@example.com", "a guess", "203.0.113.9").await));
    }
    assert!(wait(&test.login_at("ada@example.com", PASSWORD, "203.0.113.9").await).is_some(), "five were counted");
}

#[tokio::test]
async fn sr_09_guessing_locks_out_strangers_and_never_the_user() {
    let test = test_identity().await;
    test.register("ada").await;
    let email = "ada@example.com";
    assert!(test.login_at(email, PASSWORD, HOME).await.is_ok());
    storm(&test, email, 100).await;
    test.clock.advance(Duration::from_secs(3600));

    let stranger = "198.51.100.7";
    let refused = test.login_at(email, PASSWORD, stranger).await;
    assert!(is_wrong(&refused), "the right password, and the answer of a wrong one: {refused:?}");
    assert!(test.login_at(email, PASSWORD, HOME).await.is_ok(), "where the owner signed in before it works");
    assert!(test.login_at(email, PASSWORD, stranger).await.is_ok(), "the owner's success ends it");
}

#[tokio::test]
async fn sr_09_a_mailed_link_opens_the_account_where_it_is_followed() {
    let test = test_identity().await;
    test.register("ada").await;
    let email = "ada@example.com";
    storm(&test, email, 101).await;
    test.clock.advance(Duration::from_secs(3600));
    let new_place = "198.51.100.7";
    assert!(is_wrong(&test.login_at(email, PASSWORD, new_place).await));
    test.mails().await;
    test.identity.passwords.forgot(email, &caller_at(new_place)).await.expect("asked");
    let link = test.mailed_token("reset_password").await;
    let new = "a quite different secret";
    let input = ResetPasswordInput {
        token: SecretString::new(link),
        new: SecretString::new(new),
        confirm: SecretString::new(new),
    };
    test.identity.passwords.reset(&input, &caller_at(new_place)).await.expect("reset");
    storm(&test, email, 100).await;
    test.clock.advance(Duration::from_secs(3600));
    assert!(test.login_at(email, new, new_place).await.is_ok(), "the storm goes on, and the owner is let in");
}

#[tokio::test]
async fn sr_09_guesses_of_the_current_password_are_throttled() {
    let test = test_identity().await;
    let tokens = test.register("ada").await.tokens.expect("signed in");
    let session = test.session(&tokens.access).await.expect("live");
    let change = async || {
        let input = portcullis_identity::ChangePasswordInput {
            current: SecretString::new("a guess"),
            new: SecretString::new("a quite different secret"),
            confirm: SecretString::new("a quite different secret"),
        };
        test.identity.passwords.change(&session, &input, &crate::test_identity::caller()).await
    };
    for _ in 0..5 {
        assert!(matches!(change().await, Err(IdentityError::CurrentPasswordIncorrect)));
    }
    assert!(matches!(change().await, Err(IdentityError::Throttled { .. })));
}

#[tokio::test]
async fn without_the_throttle_nobody_waits() {
    let test = test_identity_with(IdentityOptions { throttle: false, ..options() }).await;
    test.register("ada").await;
    for _ in 0..8 {
        assert!(is_wrong(&test.login("ada@example.com", "a guess").await));
    }
    assert!(test.login("ada@example.com", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn sr_10_locked_and_passwordless_users_cost_the_same() {
    let test = test_identity().await;
    for name in ["wrong", "inactive", "locked"] {
        test.make(name, Role::Developer).await;
    }
    let invitation = Invitation {
        email: "passwordless@example.com".to_owned(),
        username: "passwordless".to_owned(),
        first_name: "No".to_owned(),
        last_name: "Password".to_owned(),
        role: Role::Viewer,
    };
    test.identity.administration.invite(&invitation, &Actor::Shell, &Caller::shell(), None).await.expect("invited");
    let inactive = test.signed_in("inactive").await.user_id;
    let off = UserProfileInput { is_active: Some(false), ..UserProfileInput::default() };
    test.identity.administration.edit(&Actor::Shell, inactive, off, &Caller::shell()).await.expect("disabled");
    storm(&test, "locked@example.com", 100).await;
    test.clock.advance(Duration::from_secs(3600));

    let mut costs = Vec::new();
    for class in ["unknown", "wrong", "inactive", "locked", "passwordless"] {
        let password = if class == "wrong" { "a guess" } else { PASSWORD };
        let before = (test.metrics.database_statements(), test.identity.password_hasher.hashes());
        let result = test.login_at(&format!("{class}@example.com"), password, "198.51.100.7").await;
        assert!(is_wrong(&result), "{class}: {result:?}");
        let after = (test.metrics.database_statements(), test.identity.password_hasher.hashes());
        costs.push((class, after.0 - before.0, after.1 - before.1));
    }
    // The account with its failures, the count of this attempt, its outcome, the line of the audit log.
    assert!(costs.iter().all(|(_, statements, hashes)| (*statements, *hashes) == (4, 1)), "{costs:?}");
}

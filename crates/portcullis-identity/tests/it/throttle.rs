//! Guessing passwords becomes slow, and locks nobody out for good (requirement 9).

use std::time::Duration;

use portcullis_identity::{
    Actor, Caller, IdentityError, IdentityOptions, Invitation, ResetPasswordInput, SignedIn, UserProfileInput,
};
use portcullis_model::{Role, SecretString};

use crate::house::{House, PASSWORD, caller_at, house, house_with, options};

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
async fn storm(house: &House, email: &str, guesses: u32) {
    for n in 0..guesses {
        let ip = std::net::Ipv4Addr::from(0xcb00_7100 + n % 250).to_string();
        loop {
            let result = house.login_at(email, "a guess", &ip).await;
            match wait(&result) {
                Some(retry) => house.clock.advance(retry),
                None => break assert!(is_wrong(&result), "{result:?}"),
            }
        }
    }
}

#[tokio::test]
async fn sr_09_waits_grow_with_failures_alike_for_known_and_unknown_accounts() {
    let house = house().await;
    house.register("ada").await;
    let mut seen = Vec::new();
    for email in ["ada@example.com", "nobody@example.com"] {
        let mut waits = Vec::new();
        for _ in 0..5 {
            assert!(is_wrong(&house.login(email, "a guess").await));
        }
        for _ in 0..4 {
            let hashes = house.identity.password_hasher.hashes();
            let refused = house.login(email, "a guess").await;
            let retry = wait(&refused).expect("it must wait");
            assert_eq!(house.identity.password_hasher.hashes(), hashes, "hashed what must wait");
            waits.push(retry.as_secs_f64().round());
            house.clock.advance(retry);
            assert!(is_wrong(&house.login(email, "a guess").await), "after the wait it is tried");
        }
        seen.push(waits);
    }
    assert_eq!(seen[0], [1.0, 2.0, 4.0, 8.0]);
    assert_eq!(seen[0], seen[1], "unknown accounts wait alike");
}

#[tokio::test]
async fn sr_09_a_success_ends_the_waits_and_another_client_never_had_them() {
    let house = house().await;
    house.register("ada").await;
    for _ in 0..5 {
        assert!(is_wrong(&house.login("ada@example.com", "a guess").await));
    }
    assert!(wait(&house.login("ada@example.com", PASSWORD).await).is_some(), "the right one waits too");
    assert!(house.login_at("ada@example.com", PASSWORD, "198.51.100.7").await.is_ok(), "elsewhere nothing failed");
    house.clock.advance(Duration::from_secs(60));
    assert!(house.login("ada@example.com", PASSWORD).await.is_ok());
    for _ in 0..4 {
        assert!(is_wrong(&house.login("ada@example.com", "a guess").await), "counted from the beginning");
    }
    assert!(house.login("ada@example.com", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn sr_09_one_client_that_tries_many_accounts_waits_too() {
    let house = house().await;
    for n in 0..50 {
        assert!(is_wrong(&house.login(&format!("nobody{n}@example.com"), "a guess").await));
    }
    let retry = wait(&house.login("somebody@example.com", "a guess").await);
    assert!(retry.is_some_and(|retry| retry <= Duration::from_secs(60)), "{retry:?}");
    assert!(is_wrong(&house.login_at("somebody@example.com", "a guess", "198.51.100.7").await));
}

#[tokio::test]
async fn sr_09_a_storm_of_guesses_locks_strangers_out_and_never_the_owner() {
    let house = house().await;
    house.register("ada").await;
    let email = "ada@example.com";
    assert!(house.login_at(email, PASSWORD, HOME).await.is_ok());
    storm(&house, email, 100).await;
    house.clock.advance(Duration::from_secs(3600));

    let stranger = "198.51.100.7";
    let refused = house.login_at(email, PASSWORD, stranger).await;
    assert!(is_wrong(&refused), "the right password, and the answer of a wrong one: {refused:?}");
    assert!(house.login_at(email, PASSWORD, HOME).await.is_ok(), "where the owner signed in before it works");
    assert!(house.login_at(email, PASSWORD, stranger).await.is_ok(), "the owner's success ends it");
}

#[tokio::test]
async fn sr_09_a_mailed_link_opens_the_account_where_it_is_followed() {
    let house = house().await;
    house.register("ada").await;
    let email = "ada@example.com";
    storm(&house, email, 101).await;
    house.clock.advance(Duration::from_secs(3600));
    let new_place = "198.51.100.7";
    assert!(is_wrong(&house.login_at(email, PASSWORD, new_place).await));
    house.mails().await;
    house.identity.passwords.forgot(email, &caller_at(new_place)).await.expect("asked");
    let link = house.mailed_token("reset_password").await;
    let new = "a quite different secret";
    let input = ResetPasswordInput {
        token: SecretString::new(link),
        new: SecretString::new(new),
        confirm: SecretString::new(new),
    };
    house.identity.passwords.reset(&input, &caller_at(new_place)).await.expect("reset");
    storm(&house, email, 100).await;
    house.clock.advance(Duration::from_secs(3600));
    assert!(house.login_at(email, new, new_place).await.is_ok(), "the storm goes on, and the owner is let in");
}

#[tokio::test]
async fn sr_09_guessing_the_current_password_of_a_stolen_session_is_slowed_down_too() {
    let house = house().await;
    let tokens = house.register("ada").await.tokens.expect("signed in");
    let session = house.session(&tokens.access).await.expect("live");
    let change = async || {
        let input = portcullis_identity::ChangePasswordInput {
            current: SecretString::new("a guess"),
            new: SecretString::new("a quite different secret"),
            confirm: SecretString::new("a quite different secret"),
        };
        house.identity.passwords.change(&session, &input, &crate::house::caller()).await
    };
    for _ in 0..5 {
        assert!(matches!(change().await, Err(IdentityError::CurrentPasswordIncorrect)));
    }
    assert!(matches!(change().await, Err(IdentityError::Throttled { .. })));
}

#[tokio::test]
async fn without_the_throttle_nobody_waits() {
    let house = house_with(IdentityOptions { throttle: false, ..options() }).await;
    house.register("ada").await;
    for _ in 0..8 {
        assert!(is_wrong(&house.login("ada@example.com", "a guess").await));
    }
    assert!(house.login("ada@example.com", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn sr_10_unknown_wrong_inactive_locked_and_passwordless_answer_and_cost_the_same() {
    let house = house().await;
    for name in ["wrong", "inactive", "locked"] {
        house.make(name, Role::Developer).await;
    }
    let invitation = Invitation {
        email: "passwordless@example.com".to_owned(),
        username: "passwordless".to_owned(),
        first_name: "No".to_owned(),
        last_name: "Password".to_owned(),
        role: Role::Viewer,
    };
    house.identity.administration.invite(&invitation, &Actor::Shell, &Caller::shell(), None).await.expect("invited");
    let inactive = house.signed_in("inactive").await.user_id;
    let off = UserProfileInput { is_active: Some(false), ..UserProfileInput::default() };
    house.identity.administration.edit(&Actor::Shell, inactive, off, &Caller::shell()).await.expect("disabled");
    storm(&house, "locked@example.com", 100).await;
    house.clock.advance(Duration::from_secs(3600));

    let mut costs = Vec::new();
    for class in ["unknown", "wrong", "inactive", "locked", "passwordless"] {
        let password = if class == "wrong" { "a guess" } else { PASSWORD };
        let before = (house.metrics.database_statements(), house.identity.password_hasher.hashes());
        let result = house.login_at(&format!("{class}@example.com"), password, "198.51.100.7").await;
        assert!(is_wrong(&result), "{class}: {result:?}");
        let after = (house.metrics.database_statements(), house.identity.password_hasher.hashes());
        costs.push((class, after.0 - before.0, after.1 - before.1));
    }
    // The account with its failures, the count of this one, the line of the audit log.
    assert!(costs.iter().all(|(_, statements, hashes)| (*statements, *hashes) == (3, 1)), "{costs:?}");
}

//! API keys: what is kept of them, and what may be asked of them.

use std::time::Duration;

use portcullis_identity::{ApiKeyInput, IdentityError};
use portcullis_model::policy::Environment;
use portcullis_model::{Role, SessionSource, api_key};

use crate::test_identity::{DAY, caller, test_identity, test_identity_with, with_demo};

fn input(name: &str) -> ApiKeyInput {
    ApiKeyInput { name: name.to_owned(), scopes: None, expires_at: None }
}

#[tokio::test]
async fn a_key_is_shown_once_kept_as_a_hash_and_told_to_its_owner() {
    let test = test_identity().await;
    test.make("ada", Role::Manager).await;
    let session = test.signed_in("ada").await;
    let expires_at = Some(test.clock.now() + DAY);
    let scopes = Some(vec!["USER_VIEW".to_owned(), "USER_VIEW".to_owned()]);
    let asked = ApiKeyInput { scopes, expires_at, ..input(" deploy ") };
    let issued = test.make_key(&session, asked).await;
    assert_eq!((issued.key.name.as_str(), issued.key.scopes.as_ref().map(Vec::len)), ("deploy", Some(1)));
    assert!(issued.secret.expose().starts_with(&issued.key.prefix) && issued.key.prefix.len() < 12);
    let digest = api_key::digest(issued.secret.expose()).expect("well-formed");
    assert!(test.sessions.load_key(digest).await.expect("answers").is_some());
    let stored = test.stored();
    let secret = issued.secret.expose().as_bytes();
    assert!(!stored.windows(secret.len()).any(|window| window == secret), "the database knows the key");
    assert_eq!(test.mails().await.0, ["api_key_created"]);
    let log = test.audit().await;
    assert!(log.contains(&("api_key.create".to_owned(), "success".to_owned())), "{log:?}");
    test.clock.advance(DAY + Duration::from_secs(1));
    assert!(test.sessions.load_key(digest).await.expect("answers").is_none(), "past its time");
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_told_at_once() {
    let test = test_identity().await;
    test.make("ada", Role::Developer).await;
    let session = test.signed_in("ada").await;
    let asked = ApiKeyInput {
        name: "\n".to_owned(),
        scopes: Some(vec!["USER_DELETE".to_owned(), "nonsense".to_owned()]),
        expires_at: Some(test.clock.now()),
    };
    match test.identity.api_keys.create(&session, asked, &caller(), None).await {
        Err(IdentityError::Validation(problems)) => {
            assert_eq!(problems.len(), 4, "{problems:?}");
            assert!(problems[2].contains("USER_DELETE"), "{problems:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_user_has_at_most_a_hundred_keys() {
    let test = test_identity().await;
    test.make("ada", Role::Developer).await;
    let session = test.signed_in("ada").await;
    for _ in 0..100 {
        test.make_key(&session, input("one of many")).await;
    }
    let more = test.identity.api_keys.create(&session, input("one more"), &caller(), None).await;
    assert!(matches!(more, Err(IdentityError::TooManyKeys)), "{more:?}");
}

#[tokio::test]
async fn sr_52_keys_made_and_revoked_have_a_limit_a_day() {
    let test = test_identity().await;
    test.make("ada", Role::Developer).await;
    let session = test.signed_in("ada").await;
    let make = async || test.identity.api_keys.create(&session, input("short-lived"), &caller(), None).await;
    for _ in 0..200 {
        let made = make().await.expect("within the limit").fresh().expect("is new");
        test.identity.api_keys.revoke(&session, made.key.id, &caller()).await.expect("revoked");
        test.clock.advance(Duration::from_secs(60));
    }
    let refused = make().await;
    let Err(IdentityError::TooManyKeysMade { retry }) = refused else { panic!("{refused:?}") };
    // The clock goes on by itself meanwhile.
    let oldest_is_a_day_old = DAY - Duration::from_secs(200 * 60);
    assert!(retry <= oldest_is_a_day_old && retry > oldest_is_a_day_old - Duration::from_secs(60), "{retry:?}");
    test.clock.advance(retry);
    make().await.expect("the oldest no longer counts");
    assert!(matches!(make().await, Err(IdentityError::TooManyKeysMade { .. })), "the next one does");
}

#[tokio::test]
async fn of_keys_made_at_once_none_passes_the_limit() {
    let test = test_identity().await;
    test.make("ada", Role::Developer).await;
    let session = test.signed_in("ada").await;
    // Many at once from the beginning, so that the last of them find their connections open.
    let mut made = 0;
    for _ in 0..26 {
        let four =
            (0..4).map(async |_| test.identity.api_keys.create(&session, input("deploy"), &caller(), None).await);
        made += futures_util::future::join_all(four).await.iter().filter(|one| one.is_ok()).count();
        if made == 96 {
            test.make_key(&session, input("so that the next four are one too many")).await;
            made += 1;
        }
    }
    assert_eq!(made, 100);
    assert_eq!(test.identity.api_keys.list(&session).await.expect("reads").len(), 100);
}

#[tokio::test]
async fn a_revoked_key_is_dead_and_somebody_elses_cannot_be_revoked() {
    let test = test_identity().await;
    test.make("ada", Role::Developer).await;
    test.make("eve", Role::Admin).await;
    let (ada, eve) = (test.signed_in("ada").await, test.signed_in("eve").await);
    let issued = test.make_key(&ada, input("deploy")).await;
    let digest = api_key::digest(issued.secret.expose()).expect("well-formed");
    assert!(test.sessions.load_key(digest).await.expect("answers").is_some());
    let id = issued.key.id;
    let stolen = test.identity.api_keys.revoke(&eve, id, &caller()).await;
    assert!(matches!(stolen, Err(IdentityError::NotFound)), "{stolen:?}");
    assert_eq!(test.identity.api_keys.list(&ada).await.expect("reads").len(), 1);
    test.identity.api_keys.revoke(&ada, id, &caller()).await.expect("revoked");
    assert!(test.sessions.cached_key(&digest).is_none(), "a copy outlived it");
    assert!(test.sessions.load_key(digest).await.expect("answers").is_none());
    assert!(test.identity.api_keys.list(&ada).await.expect("reads").is_empty());
}

#[tokio::test]
async fn the_demo_account_has_no_keys() {
    let test = test_identity_with(with_demo(Environment::Development)).await;
    let tokens = test.login("demo@example.com", "a demo password").await.expect("signed in").tokens;
    let session = test.session(&tokens.access).await.expect("live");
    let made = test.identity.api_keys.create(&session, input("deploy"), &caller(), None).await;
    assert!(matches!(made, Err(IdentityError::DemoReadOnly)), "{made:?}");
    assert!(test.identity.api_keys.list(&session).await.expect("reads").is_empty());
}

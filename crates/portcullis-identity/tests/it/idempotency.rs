//! What is done once under a key of its client's.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use portcullis_identity::{ApiKeyInput, IdempotentOutcome, IdentityError, IssuedApiKey};
use portcullis_model::{Role, SessionState};
use portcullis_storage::IdempotencyKey;
use serde_json::json;

use crate::test_identity::{DAY, TestIdentity, caller, test_identity};

const KEY: IdempotencyKey = IdempotencyKey { id: [1; 32], request: [2; 32] };

fn input() -> ApiKeyInput {
    ApiKeyInput { name: "deploy".to_owned(), scopes: None, expires_at: None }
}

async fn make(
    test: &TestIdentity,
    session: &SessionState,
    key: IdempotencyKey,
) -> Result<IdempotentOutcome<IssuedApiKey>, IdentityError> {
    test.identity.api_keys.create(session, input(), &caller(), Some(&key)).await
}

async fn keys_of(test: &TestIdentity, session: &SessionState) -> usize {
    test.identity.api_keys.list(session).await.expect("reads").len()
}

#[tokio::test]
async fn sr_48_the_stored_outcome_of_a_new_key_has_no_secret() {
    let test = test_identity().await;
    test.make("ada", Role::Developer).await;
    let session = test.signed_in("ada").await;
    let issued = make(&test, &session, KEY).await.expect("made").fresh().expect("the first time");
    match make(&test, &session, KEY).await.expect("known") {
        IdempotentOutcome::Replayed(kept) => assert_eq!(kept, json!(issued.key)),
        IdempotentOutcome::Fresh(_) => panic!("it was made twice"),
    }
    let (stored, secret) = (test.stored(), issued.secret.expose().as_bytes());
    let holds = |part: &[u8]| stored.windows(part.len()).any(|window| window == part);
    assert!(holds(&secret[..11]), "the search finds what is there");
    for part in secret[11..46].chunks(12) {
        assert!(!holds(part), "the database knows a part of the key");
    }
    assert_eq!(keys_of(&test, &session).await, 1);
    assert_eq!(test.mails().await.0, ["api_key_created"], "its owner is told once");
}

#[tokio::test]
async fn what_was_fine_then_is_told_although_it_would_be_refused_now() {
    let test = test_identity().await;
    test.make("ada", Role::Developer).await;
    let session = test.signed_in("ada").await;
    let soon = ApiKeyInput { expires_at: Some(test.clock.now() + DAY / 24), ..input() };
    let create = async |input| test.identity.api_keys.create(&session, input, &caller(), Some(&KEY)).await;
    assert!(matches!(create(soon.clone()).await, Ok(IdempotentOutcome::Fresh(_))));
    test.clock.advance(DAY / 12);
    assert!(matches!(create(soon).await, Ok(IdempotentOutcome::Replayed(_))));
}

#[tokio::test]
async fn a_key_is_one_requests_and_what_was_refused_may_be_sent_again() {
    let test = test_identity().await;
    test.make("ada", Role::Developer).await;
    let session = test.signed_in("ada").await;
    let nameless = ApiKeyInput { name: String::new(), ..input() };
    let refused = test.identity.api_keys.create(&session, nameless, &caller(), Some(&KEY)).await;
    assert!(matches!(refused, Err(IdentityError::Validation(_))), "{refused:?}");
    assert!(matches!(make(&test, &session, KEY).await, Ok(IdempotentOutcome::Fresh(_))));
    let other = make(&test, &session, IdempotencyKey { request: [3; 32], ..KEY }).await;
    assert!(matches!(other, Err(IdentityError::KeyReused)), "{other:?}");
    // A refusal within the transaction leaves no key behind either.
    for _ in 1..100 {
        test.make_key(&session, input()).await;
    }
    let late = IdempotencyKey { id: [9; 32], ..KEY };
    let refused = make(&test, &session, late).await;
    assert!(matches!(refused, Err(IdentityError::TooManyKeys)), "{refused:?}");
    let first = test.identity.api_keys.list(&session).await.expect("reads")[0].id;
    test.identity.api_keys.revoke(&session, first, &caller()).await.expect("revoked");
    assert!(matches!(make(&test, &session, late).await, Ok(IdempotentOutcome::Fresh(_))));
}

/// What came of `work`, whose caller goes away the `waits`-th time that it has to wait.
async fn unless_left<T>(waits: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut seen) = (pin!(work), 0);
    poll_fn(|context| {
        seen += 1;
        match work.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if seen < waits => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        }
    })
    .await
}

#[tokio::test]
async fn what_a_caller_does_not_wait_for_is_not_done() {
    let test = test_identity().await;
    test.make("ada", Role::Developer).await;
    let session = test.signed_in("ada").await;
    let mut another = test.store.begin().await.expect("a transaction");
    another.count_api_keys(session.user_id).await.expect("a lock on how many there are");
    // On PostgreSQL the outcome is written by then.
    let left = tokio::time::timeout(Duration::from_millis(100), make(&test, &session, KEY)).await;
    assert!(left.is_err(), "it did not wait: {left:?}");
    drop(another);
    assert!(matches!(make(&test, &session, KEY).await, Ok(IdempotentOutcome::Fresh(_))));
    assert!(matches!(make(&test, &session, KEY).await, Ok(IdempotentOutcome::Replayed(_))));
    assert_eq!(keys_of(&test, &session).await, 1);
}

#[tokio::test]
async fn whenever_its_caller_goes_away_it_is_done_once() {
    let test = test_identity().await;
    test.make("ada", Role::Developer).await;
    let session = test.signed_in("ada").await;
    let (mut undone, mut done) = (0, 0);
    for round in 0..48 {
        let key = IdempotencyKey { id: [round; 32], ..KEY };
        // Four tries each: where an answer is there at once, as it often is on a busy machine, nobody waits.
        let waits = usize::from(round / 4) + 1;
        if unless_left(waits, make(&test, &session, key)).await.is_some() {
            continue;
        }
        match make(&test, &session, key).await.expect("it is done or it is not") {
            IdempotentOutcome::Fresh(_) => undone += 1,
            IdempotentOutcome::Replayed(_) => done += 1,
        }
        assert!(matches!(make(&test, &session, key).await, Ok(IdempotentOutcome::Replayed(_))));
    }
    assert_eq!(keys_of(&test, &session).await, 48, "{undone} undone, {done} done when their callers went");
}

//! Replicas on machines whose clocks differ: they follow the clock of their common PostgreSQL.

use std::time::Duration;

use portcullis_model::Clock;
use portcullis_storage::DatabaseUrl;
use portcullis_testkit::PrivatePostgres;

use crate::reset_password::reset;
use crate::test_identity::{PASSWORD, TestIdentity, caller, options, test_identity_on};

const HOUR: i64 = 3_600_000_000;

/// A replica whose clock is right, one that is two hours behind and one that is two hours ahead, and the clock that moves
/// the time of all three.
async fn replicas(_server: &PrivatePostgres, url: &str) -> ([TestIdentity; 3], Clock) {
    let clock = Clock::adjustable();
    let on = async |micros: i64| {
        let url = DatabaseUrl::parse(url).expect("the test kit gives an address");
        let folder = tempfile::tempdir().expect("a folder");
        test_identity_on(url, folder, clock.on_a_machine_ahead_by(micros), options()).await
    };
    ([on(0).await, on(-2 * HOUR).await, on(2 * HOUR).await], clock.clone())
}

#[tokio::test]
async fn a_token_of_one_replica_is_valid_on_all() {
    let server = PrivatePostgres::shared();
    let (replicas, _) = replicas(&server, &server.database()).await;
    replicas[0].register("ada").await;
    for maker in &replicas {
        let tokens = maker.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
        for replica in &replicas {
            assert!(replica.session(&tokens.access).await.is_some(), "a fresh token was refused");
        }
    }
}

#[tokio::test]
async fn a_session_expires_on_all_replicas_at_once() {
    let server = PrivatePostgres::shared();
    let (replicas, clock) = replicas(&server, &server.database()).await;
    replicas[1].register("ada").await;
    let sessions = replicas.each_ref().map(|maker| maker.login("ada@example.com", PASSWORD));
    let mut refresh_tokens = Vec::new();
    for sign_in in sessions {
        refresh_tokens.push(sign_in.await.expect("signed in").tokens.refresh);
    }
    clock.advance(Duration::from_secs(7 * 86_400 - 60));
    let alive = replicas[0].signed_in("ada").await;
    for replica in &replicas {
        assert_eq!(replica.identity.sessions.list(&alive).await.expect("reads").len(), 5, "all live");
    }
    clock.advance(Duration::from_secs(120));
    for (replica, token) in replicas.iter().zip(&refresh_tokens) {
        assert_eq!(replica.identity.sessions.list(&alive).await.expect("reads").len(), 1, "the others have expired");
        assert!(replica.identity.sign_in.refresh(token.expose(), &caller()).await.is_err());
    }
}

async fn request_reset(test: &TestIdentity) {
    test.identity.passwords.forgot("ada@example.com", &caller()).await.expect("the same answer for everybody");
}

#[tokio::test]
async fn a_reset_link_lives_an_hour_on_every_replica() {
    let server = PrivatePostgres::shared();
    let (replicas, clock) = replicas(&server, &server.database()).await;
    replicas[0].register("ada").await;
    replicas[0].mails().await;
    for (maker, user) in [(1, 2), (2, 1)] {
        request_reset(&replicas[maker]).await;
        let token = replicas[maker].mailed_token("reset_password").await;
        let used = reset(&replicas[user], &token, "a quite different secret").await;
        assert!(used.is_ok(), "a fresh link was refused: {used:?}");
        replicas[0].mails().await;
    }
    request_reset(&replicas[2]).await;
    let token = replicas[2].mailed_token("reset_password").await;
    clock.advance(Duration::from_secs(3_700));
    assert!(reset(&replicas[1], &token, "another different secret").await.is_err(), "an old link works");
}

#[tokio::test]
async fn the_grace_window_is_the_same_on_every_replica() {
    let server = PrivatePostgres::shared();
    let (replicas, clock) = replicas(&server, &server.database()).await;
    let old = replicas[0].register("ada").await.tokens.expect("signed in").refresh;
    let successor = replicas[1].identity.sign_in.refresh(old.expose(), &caller()).await.expect("rotates");
    clock.advance(Duration::from_secs(9));
    for replica in &replicas {
        let again = replica.identity.sign_in.refresh(old.expose(), &caller()).await.expect("within the window");
        assert_eq!(again.refresh.expose(), successor.refresh.expose());
    }
    clock.advance(Duration::from_secs(2));
    assert!(replicas[2].identity.sign_in.refresh(old.expose(), &caller()).await.is_err(), "the window is over");
}

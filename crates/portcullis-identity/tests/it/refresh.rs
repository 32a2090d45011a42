use std::sync::Arc;

use std::collections::HashSet;
use std::time::Duration;

use portcullis_identity::IdentityError;

use crate::test_identity::{PASSWORD, caller, test_identity};

#[tokio::test]
async fn sr_32_a_refresh_rotates_and_an_old_token_ends_the_session() {
    let test = test_identity().await;
    let first = test.register("ada").await.tokens.expect("signed in");
    let second = test.identity.sign_in.refresh(first.refresh.expose(), &caller()).await.expect("refreshed");
    assert_ne!(first.refresh.expose(), second.refresh.expose());
    assert_eq!(first.session_id, second.session_id);
    assert!(test.session(&second.access).await.is_some());
    // Past the grace window the old token is a copy in other hands.
    test.clock.advance(Duration::from_secs(11));
    let reuse = test.identity.sign_in.refresh(first.refresh.expose(), &caller()).await;
    assert!(matches!(reuse, Err(IdentityError::InvalidRefreshToken)));
    assert!(test.identity.sign_in.refresh(second.refresh.expose(), &caller()).await.is_err(), "the session lived on");
    assert!(test.session(&second.access).await.is_none(), "its access token lived on");
    assert!(test.audit().await.contains(&("auth.refresh_reuse".to_owned(), "failure".to_owned())));
}

#[tokio::test]
async fn sr_32_the_grace_window_returns_one_successor() {
    let test = test_identity().await;
    let first = test.register("ada").await.tokens.expect("signed in");
    let callers = (0..6).map(|_| {
        let (identity, token) = (Arc::clone(&test.identity), first.refresh.clone());
        tokio::spawn(
            async move { identity.sign_in.refresh(token.expose(), &caller()).await.expect("refreshed").refresh },
        )
    });
    let mut successors = HashSet::new();
    for task in callers.collect::<Vec<_>>() {
        successors.insert(task.await.expect("no panic").expose().to_owned());
    }
    assert_eq!(successors.len(), 1, "two callers got two successors");
    test.clock.advance(Duration::from_secs(9));
    let late = test.identity.sign_in.refresh(first.refresh.expose(), &caller()).await.expect("still in the window");
    assert!(successors.contains(late.refresh.expose()));
    // A tab that lags one rotation behind is no thief.
    let next = test.identity.sign_in.refresh(late.refresh.expose(), &caller()).await.expect("rotated again");
    let lagging =
        test.identity.sign_in.refresh(first.refresh.expose(), &caller()).await.expect("still in its own window");
    assert_eq!(lagging.refresh.expose(), late.refresh.expose());
    assert!(test.session(&next.access).await.is_some());
}

#[tokio::test]
async fn the_successor_is_sealed_and_erased() {
    let test = test_identity().await;
    let first = test.register("ada").await.tokens.expect("signed in");
    let second = test.identity.sign_in.refresh(first.refresh.expose(), &caller()).await.expect("refreshed");
    for file in ["test.db", "test.db-wal"] {
        let bytes = std::fs::read(test.folder.path().join(file)).unwrap_or_default();
        for token in [&first.refresh, &second.refresh] {
            let token = token.expose().as_bytes();
            assert!(!bytes.windows(token.len()).any(|window| window == token), "a refresh token stands in {file}");
        }
    }
    test.clock.advance(Duration::from_secs(60));
    assert_eq!(
        test.store.prune(portcullis_storage::Prunable::RefreshGrace, test.clock.now(), 10).await.expect("erased"),
        1
    );
}

#[tokio::test]
async fn a_forged_token_ends_nothing() {
    let test = test_identity().await;
    let tokens = test.register("ada").await.tokens.expect("signed in");
    let mut forged = tokens.refresh.expose().to_owned();
    let last = if forged.ends_with('A') { "B" } else { "A" };
    forged.replace_range(40..41, if &forged[40..41] == "A" { "B" } else { "A" });
    forged.replace_range(forged.len() - 2..forged.len() - 1, last);
    for bad in [forged.as_str(), "", "nonsense", tokens.access.expose()] {
        let result = test.identity.sign_in.refresh(bad, &caller()).await;
        assert!(matches!(result, Err(IdentityError::InvalidRefreshToken)), "{bad:.30}");
    }
    assert!(test.session(&tokens.access).await.is_some(), "an unknown token ended a session");
}

#[tokio::test]
async fn a_disabled_account_refreshes_no_more() {
    let test = test_identity().await;
    let registered = test.register("ada").await;
    let tokens = registered.tokens.expect("signed in");
    let mut tx = test.store.begin().await.expect("tx");
    tx.set_active(registered.user.id, false, test.clock.now()).await.expect("set");
    tx.commit().await.expect("committed");
    assert!(test.identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await.is_err());
    assert!(test.session(&tokens.access).await.is_none());
    assert!(test.login("ada@example.com", PASSWORD).await.is_err());
}

#[tokio::test]
async fn sr_32_callers_who_waited_for_the_database_are_no_thieves() {
    let test = test_identity().await;
    let first = test.register("ada").await.tokens.expect("signed in");
    let writer = test.store.begin().await.expect("the only writer");
    let before = test.metrics.database_statements();
    let refresh = || async { test.identity.sign_in.refresh(first.refresh.expose(), &caller()).await };
    let release = async {
        // Both have read the session and wait to write.
        while test.metrics.database_statements() < before + 2 {
            tokio::task::yield_now().await;
        }
        test.clock.advance(Duration::from_secs(11));
        drop(writer);
    };
    let (one, two, ()) = tokio::join!(refresh(), refresh(), release);
    let (one, two) = (one.expect("refreshed"), two.expect("it presented the token while that was current"));
    assert_eq!(one.refresh.expose(), two.refresh.expose());
    assert!(test.session(&one.access).await.is_some());
}

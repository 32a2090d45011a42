use std::sync::Arc;

use portcullis_identity::{ApiKeyInput, ChangePasswordInput, IdentityError, Logout};
use portcullis_model::SecretString;

use crate::test_identity::{DAY, PASSWORD, TestIdentity, caller, test_identity};

#[tokio::test]
async fn a_login_returns_the_user_and_a_new_session() {
    let test = test_identity().await;
    test.register("ada").await;
    test.clock.advance(DAY);
    let first = test.login("ADA@Example.com", PASSWORD).await.expect("signed in");
    let at = first.user.last_login_at.expect("this login's");
    assert!((test.clock.now() - at).num_seconds() < 5);
    let second = test.login("ada@example.com", PASSWORD).await.expect("signed in");
    assert_ne!(first.tokens.access.expose(), second.tokens.access.expose(), "two logins in one second differ");
    assert_ne!(first.tokens.session_id, second.tokens.session_id);
    let stored = test.store.user_by_id(first.user.id).await.expect("read").expect("known");
    assert_eq!(stored.last_login_at.map(|at| at.timestamp()), second.user.last_login_at.map(|at| at.timestamp()));
}

#[tokio::test]
async fn sr_10_every_failed_login_costs_and_returns_the_same() {
    let test = test_identity().await;
    test.register("ada").await;
    let sleeper = test.register("sleeper").await;
    let mut tx = test.store.begin().await.expect("tx");
    tx.set_active(sleeper.user.id, false, test.clock.now()).await.expect("set");
    tx.commit().await.expect("committed");
    let mut costs = Vec::new();
    for (email, password) in [
        ("nobody@example.com", PASSWORD),
        ("ada@example.com", "wrong password"),
        ("sleeper@example.com", PASSWORD),
        ("not an address", PASSWORD),
        ("ada\0@example.com", PASSWORD),
        ("", ""),
    ] {
        let (statements, hashes) = (test.metrics.database_statements(), test.identity.password_hasher.hashes());
        let result = test.login(email, password).await;
        assert!(matches!(result, Err(IdentityError::InvalidCredentials)), "{email:?}");
        costs.push((test.metrics.database_statements() - statements, test.identity.password_hasher.hashes() - hashes));
    }
    assert!(costs.iter().all(|cost| *cost == costs[0] && cost.1 == 1), "{costs:?}");
}

#[tokio::test]
async fn sr_22_an_access_token_dies_with_its_session() {
    let test = test_identity().await;
    let registered = test.register("ada").await.tokens.expect("signed in");
    let login = test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    let session = test.session(&login.access).await.expect("live");
    let logout = Logout { session: Some(Arc::clone(&session)), refresh_token: None, all: false };
    test.identity.sign_in.logout(logout, &caller()).await.expect("logged out");
    assert!(test.session(&login.access).await.is_none(), "the access token outlived its session");
    assert!(test.identity.sign_in.refresh(login.refresh.expose(), &caller()).await.is_err());
    assert!(test.session(&registered.access).await.is_some(), "another session of the same user");
}

#[tokio::test]
async fn logout_by_refresh_token_and_everywhere() {
    let test = test_identity().await;
    let one = test.register("ada").await.tokens.expect("signed in");
    let two = test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    let by_refresh = |token: &SecretString, all| Logout { session: None, refresh_token: Some(token.clone()), all };
    test.identity.sign_in.logout(by_refresh(&one.refresh, false), &caller()).await.expect("logged out");
    assert!(test.session(&one.access).await.is_none() && test.session(&two.access).await.is_some());
    let again = test.identity.sign_in.logout(by_refresh(&one.refresh, false), &caller()).await;
    assert!(matches!(again, Err(IdentityError::InvalidRefreshToken)));
    let three = test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    test.identity.sign_in.logout(by_refresh(&two.refresh, true), &caller()).await.expect("logged out");
    assert!(test.session(&two.access).await.is_none() && test.session(&three.access).await.is_none());
}

#[tokio::test]
async fn sr_21_every_session_has_an_idle_and_an_absolute_end() {
    let test = test_identity().await;
    test.register("ada").await;
    let plain = test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    test.clock.advance(7 * DAY + std::time::Duration::from_secs(1));
    assert!(
        test.identity.sign_in.refresh(plain.refresh.expose(), &caller()).await.is_err(),
        "idle for more than seven days"
    );
    for (remember, days) in [(false, 30), (true, 90)] {
        let mut tokens = test.login_for("ada@example.com", PASSWORD, remember).await.expect("signed in").tokens;
        let begun = test.clock.now();
        let mut last = 0;
        while let Ok(next) = test.identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await {
            tokens = next;
            last = (test.clock.now() - begun).num_days();
            assert!(last <= days, "alive after {last} days");
            test.clock.advance(DAY);
        }
        assert!(last >= days - 1, "ended after {last} of {days} days");
    }
}

#[tokio::test]
async fn sr_36_attempts_are_audited_without_secrets_or_forged_lines() {
    let test = test_identity().await;
    let tokens = test.register("ada").await.tokens.expect("signed in");
    test.login("ada@example.com", PASSWORD).await.expect("signed in");
    test.login("ada@example.com", "a wrong secret").await.expect_err("wrong");
    test.identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await.expect("refreshed");
    test.identity.sign_in.refresh("nonsense", &caller()).await.expect_err("no token");
    let session = test.session(&tokens.access).await.expect("live");
    let logout = Logout { session: Some(session), refresh_token: None, all: false };
    test.identity.sign_in.logout(logout, &caller()).await.expect("logged out");
    let events = test.audit().await;
    for (action, outcome) in [
        ("auth.register", "success"),
        ("auth.login", "success"),
        ("auth.login", "failure"),
        ("auth.refresh", "success"),
        ("auth.logout", "success"),
    ] {
        assert!(events.contains(&(action.to_owned(), outcome.to_owned())), "{action} {outcome} in {events:?}");
    }
    let records =
        test.store.audit_page(&portcullis_storage::AuditFilter::default(), 100, 0).await.expect("read").records;
    let text = format!("{records:?}");
    for secret in [PASSWORD, "a wrong secret", tokens.refresh.expose(), tokens.access.expose()] {
        assert!(!text.contains(secret));
    }
    assert!(records.iter().all(|record| record.user_agent.as_deref() == Some("a testforged line")));
}

#[tokio::test]
async fn users_change_their_own_profile_and_end_their_own_sessions() {
    let test = test_identity().await;
    let ada = test.register("ada").await.tokens.expect("signed in");
    let eve = test.register("eve").await.tokens.expect("signed in");
    let (ada_session, eve_session) = sessions(&test, &ada.access, &eve.access).await;
    let input =
        portcullis_identity::ProfileInput { first_name: Some(" Grace ".to_owned()), last_name: None, avatar: None };
    let user = test.identity.users.update_profile(&ada_session, input, &caller()).await.expect("changed");
    assert_eq!((user.first_name.as_str(), user.last_name.as_str()), ("Grace", "Lovelace"));
    let input = portcullis_identity::ProfileInput {
        avatar: Some(Some("javascript:alert(1)".to_owned())),
        ..Default::default()
    };
    assert!(matches!(
        test.identity.users.update_profile(&ada_session, input, &caller()).await,
        Err(IdentityError::Validation(_))
    ));
    let stolen = test.identity.sessions.end(&eve_session, ada.session_id, &caller()).await;
    assert!(matches!(stolen, Err(IdentityError::NotFound)));
    assert_eq!(test.identity.sessions.list(&ada_session).await.expect("listed").len(), 1);
    test.identity.sessions.end(&ada_session, ada.session_id, &caller()).await.expect("ended");
    assert!(test.session(&ada.access).await.is_none());
}

async fn sessions(
    test: &TestIdentity,
    one: &SecretString,
    two: &SecretString,
) -> (Arc<portcullis_model::SessionState>, Arc<portcullis_model::SessionState>) {
    (test.session(one).await.expect("live"), test.session(two).await.expect("live"))
}

#[tokio::test]
async fn a_cached_session_holds_no_secret() {
    let test = test_identity().await;
    let tokens = test.register("ada").await.tokens.expect("signed in");
    let session = test.session(&tokens.access).await.expect("live");
    let text = format!("{session:?}");
    for secret in [tokens.access.expose(), tokens.refresh.expose(), "argon2", PASSWORD] {
        assert!(!text.contains(secret));
    }
}

/// Signs in while the only hashing thread is kept busy, and makes `change` between the look-up and the end.
async fn login_during(
    test: &TestIdentity,
    change: impl AsyncFnOnce(&TestIdentity),
) -> Result<portcullis_identity::SignedIn, IdentityError> {
    let queue = (0..10).map(|_| test.login("nobody@example.com", "keeps the thread busy"));
    let busy = futures_util::future::join_all(queue);
    let during = async {
        let before = test.metrics.database_statements();
        let login = test.login("ada@example.com", PASSWORD);
        let change = async {
            // Until the accounts were read and the attempts counted; the queue leaves time for the rest.
            while test.metrics.database_statements() <= before + 20 {
                tokio::task::yield_now().await;
            }
            change(test).await;
        };
        tokio::join!(login, change).0
    };
    tokio::join!(busy, during).1
}

#[tokio::test]
async fn a_harmless_change_does_not_fail_a_running_login() {
    let test = test_identity().await;
    let user = test.register("ada").await.user.id;
    let sign_in = login_during(&test, async |test: &TestIdentity| {
        let mut tx = test.store.begin().await.expect("tx");
        tx.set_email_verified(user, test.clock.now()).await.expect("set");
        tx.commit().await.expect("committed");
    })
    .await
    .expect("signed in");
    assert!(sign_in.user.is_email_verified(), "answered with the account as it was before");
    assert!(test.session(&sign_in.tokens.access).await.is_some());
}

#[tokio::test]
async fn sr_22_disabling_a_user_fails_a_running_login() {
    let test = test_identity().await;
    let user = test.register("ada").await.user.id;
    let result = login_during(&test, async |test: &TestIdentity| {
        let mut tx = test.store.begin().await.expect("tx");
        tx.set_active(user, false, test.clock.now()).await.expect("set");
        tx.commit().await.expect("committed");
    })
    .await;
    assert!(matches!(result, Err(IdentityError::InvalidCredentials)), "{result:?}");
}

async fn delete(test: &TestIdentity, user: portcullis_model::UserId) {
    let mut tx = test.store.begin().await.expect("tx");
    tx.delete_user(user).await.expect("deleted");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn a_login_that_races_the_deletion_of_its_user_is_wrong() {
    let test = test_identity().await;
    let user = test.register("ada").await.user.id;
    let result = login_during(&test, async |test: &TestIdentity| delete(test, user).await).await;
    assert!(matches!(result, Err(IdentityError::InvalidCredentials)), "{result:?}");
}

#[tokio::test]
async fn a_request_that_races_the_deletion_of_its_user_is_refused() {
    let test = test_identity().await;
    let registered = test.register("ada").await;
    let link = test.mailed_token("verify_email").await;
    let tokens = registered.tokens.expect("signed in");
    let session = test.session(&tokens.access).await.expect("live");
    delete(&test, registered.user.id).await;
    let text = SecretString::new("a quite different secret");
    let change = ChangePasswordInput { current: SecretString::new(PASSWORD), new: text.clone(), confirm: text };
    let key = ApiKeyInput { name: "deploy".to_owned(), scopes: None, expires_at: None };
    let identity = &test.identity;
    let outcomes = [
        identity.passwords.change(&session, &change, &caller()).await,
        identity.api_keys.create(&session, key, &caller(), None).await.map(|_| ()),
        identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await.map(|_| ()),
        identity.registration.verify_email(&link, &caller()).await,
    ];
    for outcome in outcomes {
        assert!(!matches!(outcome, Ok(()) | Err(IdentityError::Internal { .. })), "{outcome:?}");
    }
}

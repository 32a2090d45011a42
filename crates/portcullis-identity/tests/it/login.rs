use std::sync::Arc;

use portcullis_identity::{IdentityError, Logout};
use portcullis_model::SecretString;

use crate::house::{DAY, House, PASSWORD, caller, house};

#[tokio::test]
async fn a_login_answers_with_the_person_this_logins_time_and_a_new_session() {
    let house = house().await;
    house.register("ada").await;
    house.clock.advance(DAY);
    let first = house.login("ADA@Example.com", PASSWORD).await.expect("signed in");
    let at = first.user.last_login_at.expect("this login's");
    assert!((house.clock.now() - at).num_seconds() < 5);
    let second = house.login("ada@example.com", PASSWORD).await.expect("signed in");
    assert_ne!(first.tokens.access.expose(), second.tokens.access.expose(), "two logins in one second differ");
    assert_ne!(first.tokens.session_id, second.tokens.session_id);
    let stored = house.store.user_by_id(first.user.id).await.expect("read").expect("known");
    assert_eq!(stored.last_login_at.map(|at| at.timestamp()), second.user.last_login_at.map(|at| at.timestamp()));
}

#[tokio::test]
async fn sr_10_unknown_wrong_inactive_and_impossible_accounts_cost_and_answer_the_same() {
    let house = house().await;
    house.register("ada").await;
    let sleeper = house.register("sleeper").await;
    let mut tx = house.store.begin().await.expect("tx");
    tx.set_active(sleeper.user.id, false, house.clock.now()).await.expect("set");
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
        let (statements, hashes) = (house.metrics.database_statements(), house.identity.password_hasher.hashes());
        let result = house.login(email, password).await;
        assert!(matches!(result, Err(IdentityError::InvalidCredentials)), "{email:?}");
        costs
            .push((house.metrics.database_statements() - statements, house.identity.password_hasher.hashes() - hashes));
    }
    assert!(costs.iter().all(|cost| *cost == costs[0] && cost.1 == 1), "{costs:?}");
}

#[tokio::test]
async fn sr_22_an_access_token_dies_with_its_session() {
    let house = house().await;
    let registered = house.register("ada").await.tokens.expect("signed in");
    let login = house.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    let session = house.session(&login.access).await.expect("live");
    let logout = Logout { session: Some(Arc::clone(&session)), refresh_token: None, all: false };
    house.identity.sign_in.logout(logout, &caller()).await.expect("logged out");
    assert!(house.session(&login.access).await.is_none(), "the access token outlived its session");
    assert!(house.identity.sign_in.refresh(login.refresh.expose(), &caller()).await.is_err());
    assert!(house.session(&registered.access).await.is_some(), "another session of the same person");
}

#[tokio::test]
async fn logout_by_refresh_token_and_everywhere() {
    let house = house().await;
    let one = house.register("ada").await.tokens.expect("signed in");
    let two = house.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    let by_refresh = |token: &SecretString, all| Logout { session: None, refresh_token: Some(token.clone()), all };
    house.identity.sign_in.logout(by_refresh(&one.refresh, false), &caller()).await.expect("logged out");
    assert!(house.session(&one.access).await.is_none() && house.session(&two.access).await.is_some());
    let again = house.identity.sign_in.logout(by_refresh(&one.refresh, false), &caller()).await;
    assert!(matches!(again, Err(IdentityError::InvalidRefreshToken)));
    let three = house.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    house.identity.sign_in.logout(by_refresh(&two.refresh, true), &caller()).await.expect("logged out");
    assert!(house.session(&two.access).await.is_none() && house.session(&three.access).await.is_none());
}

#[tokio::test]
async fn sr_21_every_session_has_an_idle_and_an_absolute_end() {
    let house = house().await;
    house.register("ada").await;
    let plain = house.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    house.clock.advance(7 * DAY + std::time::Duration::from_secs(1));
    assert!(
        house.identity.sign_in.refresh(plain.refresh.expose(), &caller()).await.is_err(),
        "idle for more than seven days"
    );
    for (remember, days) in [(false, 30), (true, 90)] {
        let mut tokens = house.login_for("ada@example.com", PASSWORD, remember).await.expect("signed in").tokens;
        let begun = house.clock.now();
        let mut last = 0;
        while let Ok(next) = house.identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await {
            tokens = next;
            last = (house.clock.now() - begun).num_days();
            assert!(last <= days, "alive after {last} days");
            house.clock.advance(DAY);
        }
        assert!(last >= days - 1, "ended after {last} of {days} days");
    }
}

#[tokio::test]
async fn sr_36_every_success_and_failure_is_in_the_audit_log_without_secrets_or_forged_lines() {
    let house = house().await;
    let tokens = house.register("ada").await.tokens.expect("signed in");
    house.login("ada@example.com", PASSWORD).await.expect("signed in");
    house.login("ada@example.com", "a wrong secret").await.expect_err("wrong");
    house.identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await.expect("refreshed");
    house.identity.sign_in.refresh("nonsense", &caller()).await.expect_err("no token");
    let session = house.session(&tokens.access).await.expect("live");
    let logout = Logout { session: Some(session), refresh_token: None, all: false };
    house.identity.sign_in.logout(logout, &caller()).await.expect("logged out");
    let events = house.audit().await;
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
        house.store.audit_page(&portcullis_storage::AuditFilter::default(), 100, 0).await.expect("read").records;
    let text = format!("{records:?}");
    for secret in [PASSWORD, "a wrong secret", tokens.refresh.expose(), tokens.access.expose()] {
        assert!(!text.contains(secret));
    }
    assert!(records.iter().all(|record| record.user_agent.as_deref() == Some("a testforged line")));
}

#[tokio::test]
async fn the_profile_is_changed_by_its_owner_and_sessions_are_ended_by_theirs() {
    let house = house().await;
    let ada = house.register("ada").await.tokens.expect("signed in");
    let eve = house.register("eve").await.tokens.expect("signed in");
    let (ada_session, eve_session) = sessions(&house, &ada.access, &eve.access).await;
    let input =
        portcullis_identity::ProfileInput { first_name: Some(" Grace ".to_owned()), last_name: None, avatar: None };
    let user = house.identity.users.update_profile(&ada_session, input, &caller()).await.expect("changed");
    assert_eq!((user.first_name.as_str(), user.last_name.as_str()), ("Grace", "Lovelace"));
    let input = portcullis_identity::ProfileInput {
        avatar: Some(Some("javascript:alert(1)".to_owned())),
        ..Default::default()
    };
    assert!(matches!(
        house.identity.users.update_profile(&ada_session, input, &caller()).await,
        Err(IdentityError::Validation(_))
    ));
    let stolen = house.identity.sessions.end(&eve_session, ada.session_id, &caller()).await;
    assert!(matches!(stolen, Err(IdentityError::NotFound)));
    assert_eq!(house.identity.sessions.list(&ada_session).await.expect("listed").len(), 1);
    house.identity.sessions.end(&ada_session, ada.session_id, &caller()).await.expect("ended");
    assert!(house.session(&ada.access).await.is_none());
}

async fn sessions(
    house: &House,
    one: &SecretString,
    two: &SecretString,
) -> (Arc<portcullis_model::SessionState>, Arc<portcullis_model::SessionState>) {
    (house.session(one).await.expect("live"), house.session(two).await.expect("live"))
}

#[tokio::test]
async fn a_cached_session_holds_no_secret() {
    let house = house().await;
    let tokens = house.register("ada").await.tokens.expect("signed in");
    let session = house.session(&tokens.access).await.expect("live");
    let text = format!("{session:?}");
    for secret in [tokens.access.expose(), tokens.refresh.expose(), "argon2", PASSWORD] {
        assert!(!text.contains(secret));
    }
}

/// Signs in while the only hashing thread is kept busy, and makes `change` between the look-up and the end.
async fn login_during(
    house: &House,
    change: impl AsyncFnOnce(&House),
) -> Result<portcullis_identity::SignedIn, IdentityError> {
    let queue = (0..10).map(|_| house.login("nobody@example.com", "keeps the thread busy"));
    let busy = futures_util::future::join_all(queue);
    let during = async {
        let before = house.metrics.database_statements();
        let login = house.login("ada@example.com", PASSWORD);
        let change = async {
            // Until the account was read, at least; the queue leaves time for the rest.
            while house.metrics.database_statements() <= before + 10 {
                tokio::task::yield_now().await;
            }
            change(house).await;
        };
        tokio::join!(login, change).0
    };
    tokio::join!(busy, during).1
}

#[tokio::test]
async fn a_harmless_change_to_the_account_does_not_spoil_a_login_that_is_under_way() {
    let house = house().await;
    let user = house.register("ada").await.user.id;
    let sign_in = login_during(&house, async |house: &House| {
        let mut tx = house.store.begin().await.expect("tx");
        tx.set_email_verified(user, house.clock.now()).await.expect("set");
        tx.commit().await.expect("committed");
    })
    .await
    .expect("signed in");
    assert!(sign_in.user.is_email_verified(), "answered with the account as it was before");
    assert!(house.session(&sign_in.tokens.access).await.is_some());
}

#[tokio::test]
async fn sr_22_disabling_an_account_defeats_a_login_that_is_under_way() {
    let house = house().await;
    let user = house.register("ada").await.user.id;
    let result = login_during(&house, async |house: &House| {
        let mut tx = house.store.begin().await.expect("tx");
        tx.set_active(user, false, house.clock.now()).await.expect("set");
        tx.commit().await.expect("committed");
    })
    .await;
    assert!(matches!(result, Err(IdentityError::InvalidCredentials)), "{result:?}");
}

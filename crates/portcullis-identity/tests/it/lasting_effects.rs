//! What lasts is written only for a session or an API key that is still good in the transaction that writes it (SR-59).

use std::fmt::Debug;
use std::sync::Arc;

use portcullis_identity::{
    Actor, ApiKeyInput, ChangePasswordInput, IdentityError, Invitation, Logout, PermissionChange, ProfileInput,
    UserProfileInput,
};
use portcullis_model::{Permission, Role, SecretString, SessionId, SessionSource, SessionState, UserId, api_key};
use serde_json::json;

use crate::test_identity::{PASSWORD, TestIdentity, caller, test_identity};

fn permission() -> Permission {
    Permission::parse("USER_VIEW").expect("valid")
}

fn invitation() -> Invitation {
    Invitation {
        email: "new@example.com".to_owned(),
        username: "newcomer".to_owned(),
        first_name: "New".to_owned(),
        last_name: "Comer".to_owned(),
        role: Role::Viewer,
    }
}

fn renamed() -> ProfileInput {
    ProfileInput { first_name: Some("Augusta".to_owned()), ..ProfileInput::default() }
}

/// An act and why it was refused; `None` if it was not.
type Refused = (&'static str, Option<IdentityError>);

fn refused<T: Debug>(act: &'static str, result: Result<T, IdentityError>) -> Refused {
    (act, result.err())
}

/// Does to another user everything that administrators do.
async fn administer(test: &TestIdentity, by: &Actor, target: UserId, session: SessionId) -> Vec<Refused> {
    let administration = &test.identity.administration;
    let who = caller();
    let change = async |change| administration.change_permissions(by, target, change, &who).await;
    let edit = async |input| administration.edit(by, target, input, &who).await;
    let limits = administration.record_operation("gateway.reset_limits", by, json!({}), &who).await;
    vec![
        refused("invite", administration.invite(&invitation(), by, &who, None).await),
        refused("edit", edit(UserProfileInput { profile: renamed(), ..UserProfileInput::default() }).await),
        refused("verify", edit(UserProfileInput { verify_email: true, ..UserProfileInput::default() }).await),
        refused("disable", edit(UserProfileInput { is_active: Some(false), ..UserProfileInput::default() }).await),
        refused("set role", administration.set_role(by, target, Role::Tester, &who).await),
        refused("set permissions", change(PermissionChange::Set([permission()].into())).await),
        refused("add a permission", change(PermissionChange::Add(permission())).await),
        refused("remove a permission", change(PermissionChange::Remove(permission())).await),
        refused("end a session", administration.end_sessions_of(by, target, Some(session), &who).await),
        refused("end all sessions", administration.end_sessions_of(by, target, None, &who).await),
        refused("reset limits", limits),
        refused("delete", administration.delete(by, target, &who).await),
    ]
}

/// Does everything that users do to their own account.
async fn serve_oneself(test: &TestIdentity, by: &Arc<SessionState>, key: SessionId) -> Vec<Refused> {
    let (identity, who) = (&test.identity, caller());
    let input = ApiKeyInput { name: "deploy".to_owned(), scopes: None, expires_at: None };
    let secret = SecretString::new;
    let new = "a quite different secret";
    let password = ChangePasswordInput { current: secret(PASSWORD), new: secret(new), confirm: secret(new) };
    let logout = Logout { session: Some(Arc::clone(by)), refresh_token: None, all: true };
    vec![
        refused("create a key", identity.api_keys.create(by, input, &who, None).await),
        refused("revoke a key", identity.api_keys.revoke(by, key, &who).await),
        refused("change the profile", identity.users.update_profile(by, renamed(), &who).await),
        refused("end a session", identity.sessions.end(by, by.id, &who).await),
        refused("change the password", identity.passwords.change(by, &password, &who).await),
        refused("sign out everywhere", identity.sign_in.logout(logout, &who).await),
    ]
}

/// Two users of which `root` is an administrator, a session of the other one, and an API key of `root`.
struct Users {
    root: Arc<SessionState>,
    ada: Arc<SessionState>,
    key: SessionId,
    key_digest: [u8; 32],
}

async fn users(test: &TestIdentity) -> Users {
    test.make("root", Role::Admin).await;
    test.make("ada", Role::Viewer).await;
    let root = test.signed_in("root").await;
    let input = ApiKeyInput { name: "deploy".to_owned(), scopes: None, expires_at: None };
    let issued = test.make_key(&root, input).await;
    let key_digest = api_key::digest(issued.secret.expose()).expect("well-formed");
    Users { root, ada: test.signed_in("ada").await, key: issued.key.id, key_digest }
}

#[tokio::test]
async fn sr_59_a_session_that_has_ended_changes_nothing() {
    let test = test_identity().await;
    let Users { root, ada, key, .. } = users(&test).await;
    // What another replica still holds in its cache for a moment.
    let stale = Arc::clone(&root);
    let logout = Logout { session: Some(root), refresh_token: None, all: false };
    test.identity.sign_in.logout(logout, &caller()).await.expect("signed out");
    let before = test.store.credentials_after(None, 10).await.expect("reads");
    let by = Actor::Session(Arc::clone(&stale));
    let mut refused = administer(&test, &by, ada.user_id, ada.id).await;
    refused.extend(serve_oneself(&test, &stale, key).await);
    for (act, error) in &refused {
        let ended = matches!(error, Some(IdentityError::SessionEnded | IdentityError::InvalidRefreshToken));
        assert!(ended, "{act}: {error:?}");
    }
    let after = test.store.credentials_after(None, 10).await.expect("reads");
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert_eq!(test.store.api_keys(stale.user_id).await.expect("reads").len(), 1);
    assert_eq!(test.store.list_sessions(ada.user_id, test.clock.now()).await.expect("reads").len(), 1);
}

#[tokio::test]
async fn sr_59_a_revoked_api_key_changes_nothing() {
    let test = test_identity().await;
    let Users { root, ada, key, key_digest } = users(&test).await;
    let stale = test.sessions.load_key(key_digest).await.expect("reads").expect("good");
    test.identity.api_keys.revoke(&root, key, &caller()).await.expect("revoked");
    for (act, error) in administer(&test, &Actor::Session(stale), ada.user_id, ada.id).await {
        assert!(matches!(error, Some(IdentityError::SessionEnded)), "{act}: {error:?}");
    }
}

#[tokio::test]
async fn sr_59_an_expired_session_changes_nothing() {
    let test = test_identity().await;
    let Users { root, ada, key, .. } = users(&test).await;
    test.clock.advance(31 * crate::test_identity::DAY);
    let mut refused = administer(&test, &Actor::Session(Arc::clone(&root)), ada.user_id, ada.id).await;
    let made = ApiKeyInput { name: "late".to_owned(), scopes: None, expires_at: None };
    refused.push(("create a key", test.identity.api_keys.create(&root, made, &caller(), None).await.err()));
    refused.push(("revoke a key", test.identity.api_keys.revoke(&root, key, &caller()).await.err()));
    for (act, error) in refused {
        assert!(matches!(error, Some(IdentityError::SessionEnded)), "{act}: {error:?}");
    }
}

#[tokio::test]
async fn sr_59_a_scope_lost_by_the_owner_is_no_scope_of_a_new_key() {
    let test = test_identity().await;
    let manager = test.make("manager", Role::Manager).await;
    let session = test.signed_in("manager").await;
    let administration = &test.identity.administration;
    administration.set_role(&Actor::Shell, manager, Role::Viewer, &caller()).await.expect("demoted");
    let scopes = Some(vec!["USER_VIEW".to_owned()]);
    let input = ApiKeyInput { name: "deploy".to_owned(), scopes, expires_at: None };
    let refused = test.identity.api_keys.create(&session, input, &caller(), None).await;
    assert!(matches!(refused, Err(IdentityError::Validation(_))), "{refused:?}");
}

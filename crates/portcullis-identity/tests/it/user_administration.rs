//! What administrators do with other users, and what nobody may do (SR-43).

use std::sync::Arc;

use portcullis_identity::{
    Actor, ApiKeyInput, Caller, IdentityError, IdentityOptions, Invitation, PermissionChange, ProfileInput,
    RegistrationMode, RegistrationOptions, UserProfileInput,
};
use portcullis_model::{Permission, PermissionSet, Role, SecretString, SessionSource, SessionState, UserId, api_key};

use crate::test_identity::{PASSWORD, TestIdentity, caller, options, test_identity, test_identity_with};

fn actor(session: &Arc<SessionState>) -> Actor {
    Actor::Session(Arc::clone(session))
}

fn permission(name: &str) -> Permission {
    Permission::parse(name).expect("valid")
}

fn set(names: &[&str]) -> PermissionChange {
    PermissionChange::Set(names.iter().map(|name| permission(name)).collect())
}

fn active(is_active: bool) -> UserProfileInput {
    UserProfileInput { is_active: Some(is_active), ..UserProfileInput::default() }
}

/// Why it was refused.
fn refusal<T: std::fmt::Debug>(result: Result<T, IdentityError>) -> String {
    match result {
        Err(IdentityError::NotPermitted(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

async fn role_of(test: &TestIdentity, id: UserId) -> Role {
    test.store.user_by_id(id).await.expect("reads").expect("exists").role
}

#[tokio::test]
async fn sr_43_nobody_grants_a_higher_role_or_changes_their_own() {
    let test = test_identity().await;
    test.make("root", Role::Admin).await;
    let manager = test.make("manager", Role::Manager).await;
    let ada = test.make("ada", Role::Developer).await;
    let root = test.signed_in("root").await;
    let give = PermissionChange::Add(permission("USER_MANAGE_ROLES"));
    test.identity.administration.change_permissions(&actor(&root), manager, give, &caller()).await.expect("given");
    let boss = test.signed_in("manager").await;

    let set_role = async |by: &Arc<SessionState>, target, role| {
        test.identity.administration.set_role(&actor(by), target, role, &caller()).await
    };
    assert!(refusal(set_role(&boss, ada, Role::Admin).await).contains("higher than yours"));
    assert!(refusal(set_role(&boss, root.user_id, Role::Viewer).await).contains("ADMIN"));
    assert!(refusal(set_role(&boss, manager, Role::Viewer).await).contains("your own role"));
    assert!(refusal(set_role(&root, root.user_id, Role::Viewer).await).contains("your own role"), "the last one too");
    assert_eq!(role_of(&test, ada).await, Role::Developer);
    let raised = set_role(&boss, ada, Role::Manager).await.expect("up to their own");
    assert_eq!((raised.role, role_of(&test, ada).await), (Role::Manager, Role::Manager));
}

#[tokio::test]
async fn sr_43_nobody_invites_to_a_higher_role() {
    let test = test_identity().await;
    test.make("manager", Role::Manager).await;
    let boss = test.signed_in("manager").await;
    let invite = async |role| {
        let invitation = Invitation {
            email: "new@example.com".to_owned(),
            username: "newcomer".to_owned(),
            first_name: "New".to_owned(),
            last_name: "Comer".to_owned(),
            role,
        };
        test.identity.administration.invite(&invitation, &actor(&boss), &caller(), None).await
    };
    assert!(refusal(invite(Role::Admin).await).contains("higher than yours"));
    assert_eq!(invite(Role::Tester).await.expect("invited").fresh().map(|user| user.role), Some(Role::Tester));
}

#[tokio::test]
async fn sr_43_nobody_grants_permissions_they_do_not_hold() {
    let test = test_identity().await;
    test.make("root", Role::Admin).await;
    let manager = test.make("manager", Role::Manager).await;
    let ada = test.make("ada", Role::Viewer).await;
    let root = test.signed_in("root").await;
    let identity = &test.identity;
    let change = async |by: &Arc<SessionState>, target, change| {
        identity.administration.change_permissions(&actor(by), target, change, &caller()).await
    };
    change(&root, manager, set(&["USER_MANAGE_PERMISSIONS"])).await.expect("given");
    let boss = test.signed_in("manager").await;
    assert!(refusal(change(&boss, ada, set(&["USER_DELETE", "USER_VIEW"])).await).contains("USER_DELETE"));
    assert!(refusal(change(&boss, manager, set(&[])).await).contains("your own"));
    assert!(refusal(change(&boss, root.user_id, set(&["USER_VIEW"])).await).contains("higher"));
    let view = change(&boss, ada, set(&["USER_VIEW", "USER_EDIT"])).await.expect("both are held");
    assert_eq!(view.all_permissions(), PermissionSet::from([permission("USER_EDIT"), permission("USER_VIEW")]));

    // What an administrator gave, one who does not hold it may leave or take away, but not give.
    change(&root, ada, PermissionChange::Add(permission("USER_DELETE"))).await.expect("given");
    change(&boss, ada, set(&["USER_DELETE"])).await.expect("nothing new in it");
    change(&boss, ada, PermissionChange::Remove(permission("USER_DELETE"))).await.expect("taken away");
    let view = identity.administration.user(ada).await.expect("exists");
    assert!(view.custom_permissions.is_empty() && view.role_permissions.is_empty());
    let unknown = change(&root, ada, PermissionChange::Add(permission("NO_SUCH_THING"))).await;
    assert!(matches!(unknown, Err(IdentityError::Validation(_))), "{unknown:?}");
}

/// An API key of `session` with these scopes, as the gate would find it.
async fn scoped_key(test: &TestIdentity, session: &SessionState, scopes: &[&str]) -> Arc<SessionState> {
    let scopes = Some(scopes.iter().map(|scope| (*scope).to_owned()).collect());
    let issued = test.make_key(session, ApiKeyInput { name: "deploy".to_owned(), scopes, expires_at: None }).await;
    let digest = api_key::digest(issued.secret.expose()).expect("well-formed");
    test.sessions.load_key(digest).await.expect("answers").expect("good")
}

fn newcomer(role: Role) -> Invitation {
    Invitation {
        email: "new@example.com".to_owned(),
        username: "newcomer".to_owned(),
        first_name: "New".to_owned(),
        last_name: "Comer".to_owned(),
        role,
    }
}

#[tokio::test]
async fn a_scoped_key_does_what_its_scopes_name() {
    let test = test_identity().await;
    test.make("root", Role::Admin).await;
    let ada = test.make("ada", Role::Manager).await;
    let root = test.signed_in("root").await;
    let administration = &test.identity.administration;
    let editor = actor(&scoped_key(&test, &root, &["USER_EDIT"]).await);
    administration.edit(&editor, ada, active(false), &caller()).await.expect("USER_EDIT disables a user");
    administration.end_sessions_of(&editor, ada, None, &caller()).await.expect("and ends sessions");
    let creator = actor(&scoped_key(&test, &root, &["USER_CREATE"]).await);
    administration.invite(&newcomer(Role::Viewer), &creator, &caller(), None).await.expect("USER_CREATE invites");
    let deleter = actor(&scoped_key(&test, &root, &["USER_DELETE"]).await);
    administration.delete(&deleter, ada, &caller()).await.expect("USER_DELETE deletes");
}

#[tokio::test]
async fn sr_43_a_scoped_key_gives_no_more_than_its_scopes() {
    let test = test_identity().await;
    test.make("root", Role::Admin).await;
    let ada = test.make("ada", Role::Viewer).await;
    let root = test.signed_in("root").await;
    let by = actor(&scoped_key(&test, &root, &["USER_MANAGE_PERMISSIONS", "USER_VIEW", "USER_CREATE"]).await);
    let administration = &test.identity.administration;
    let change = async |names: &[&str]| administration.change_permissions(&by, ada, set(names), &caller()).await;
    change(&["USER_VIEW"]).await.expect("within the scopes");
    assert!(refusal(change(&["USER_DELETE"]).await).contains("USER_DELETE"));
    let invited = administration.invite(&newcomer(Role::Manager), &by, &caller(), None).await;
    assert!(refusal(invited).contains("USER_EDIT"), "the role holds more than the scopes");
    assert!(refusal(administration.set_role(&by, ada, Role::Tester, &caller()).await).contains("USER_MANAGE_ROLES"));
}

#[tokio::test]
async fn sr_43_a_scoped_key_has_the_rank_of_its_owner_now() {
    let test = test_identity().await;
    let root = test.make("root", Role::Admin).await;
    let manager = test.make("manager", Role::Manager).await;
    let ada = test.make("ada", Role::Manager).await;
    let session = test.signed_in("manager").await;
    let key = scoped_key(&test, &session, &["USER_EDIT"]).await;
    let administration = &test.identity.administration;
    let disable = async |target| administration.edit(&actor(&key), target, active(false), &caller()).await;
    assert!(refusal(disable(root).await).contains("higher than yours"));
    disable(ada).await.expect("of the same rank");
    let lower = PermissionChange::Set([permission("USER_EDIT")].into());
    administration.set_role(&Actor::Shell, manager, Role::Viewer, &caller()).await.expect("demoted");
    administration.change_permissions(&Actor::Shell, manager, lower, &caller()).await.expect("granted");
    assert!(refusal(disable(ada).await).contains("higher than yours"));
}

#[tokio::test]
async fn sr_61_sessions_of_a_higher_role_are_not_listed() {
    let test = test_identity().await;
    let root = test.make("root", Role::Admin).await;
    test.make("manager", Role::Manager).await;
    let session = test.signed_in("manager").await;
    let administration = &test.identity.administration;
    assert!(refusal(administration.sessions_of(&actor(&session), root).await).contains("higher than yours"));
    administration.sessions_of(&actor(&session), session.user_id).await.expect("one's own");
}

#[tokio::test]
async fn sr_43_a_key_does_not_change_its_owner() {
    let test = test_identity().await;
    let root = test.make("root", Role::Admin).await;
    test.make("second", Role::Admin).await;
    let session = test.signed_in("root").await;
    let input = ApiKeyInput { name: "deploy".to_owned(), scopes: None, expires_at: None };
    let issued = test.make_key(&session, input).await;
    let digest = api_key::digest(issued.secret.expose()).expect("well-formed");
    let key = test.sessions.load_key(digest).await.expect("answers").expect("good");
    let by = Actor::Session(key);
    refusal(test.identity.administration.edit(&by, root, active(false), &caller()).await);
    refusal(test.identity.administration.delete(&by, root, &caller()).await);
    refusal(test.identity.administration.end_sessions_of(&by, root, None, &caller()).await);
    test.mails().await;
    let new = SecretString::new("a quite different secret");
    test.identity
        .administration
        .recover_administrator("root@example.com", &new, &Caller::shell())
        .await
        .expect("recovered");
    assert_eq!(test.mails().await.0, ["password_reset"], "SR-18");
}

#[tokio::test]
async fn the_last_administrator_stays_an_administrator() {
    let test = test_identity().await;
    let root = test.make("root", Role::Admin).await;
    let session = test.signed_in("root").await;
    let by = actor(&session);
    for result in [
        test.identity.administration.delete(&by, root, &caller()).await,
        test.identity.administration.edit(&by, root, active(false), &caller()).await.map(|_| ()),
        test.identity.administration.set_role(&Actor::Shell, root, Role::Viewer, &Caller::shell()).await.map(|_| ()),
    ] {
        assert!(matches!(result, Err(IdentityError::LastAdministrator)), "{result:?}");
    }
    test.make("second", Role::Admin).await;
    test.identity.administration.edit(&by, root, active(false), &caller()).await.expect("another one is left");
}

#[tokio::test]
async fn an_administrator_who_cannot_sign_in_is_not_the_last_one() {
    let test = test_identity().await;
    let root = test.make("root", Role::Admin).await;
    let by = actor(&test.signed_in("root").await);
    let administration = &test.identity.administration;
    let invited = administration.invite(&newcomer(Role::Admin), &by, &caller(), None).await.expect("invited");
    let invited = invited.fresh().expect("invited now").id;
    for result in [
        administration.delete(&by, root, &caller()).await,
        administration.edit(&by, root, active(false), &caller()).await.map(|_| ()),
        administration.set_role(&Actor::Shell, root, Role::Viewer, &Caller::shell()).await.map(|_| ()),
    ] {
        assert!(matches!(result, Err(IdentityError::LastAdministrator)), "{result:?}");
    }
    administration.delete(&by, invited, &caller()).await.expect("the invited one blocks nothing");
}

#[tokio::test]
async fn an_unconfirmed_administrator_counts_where_none_is_required() {
    for require_verified_email in [false, true] {
        let registration =
            RegistrationOptions { mode: RegistrationMode::Open, require_verified_email, reveal_existing: true };
        let test = test_identity_with(IdentityOptions { registration, ..options() }).await;
        let root = test.make("root", Role::Admin).await;
        let ada = test.register("ada").await.user.id;
        let administration = &test.identity.administration;
        administration.set_role(&Actor::Shell, ada, Role::Admin, &caller()).await.expect("promoted");
        let deleted = administration.delete(&Actor::Shell, root, &caller()).await;
        let last = matches!(deleted, Err(IdentityError::LastAdministrator));
        assert_eq!(last, require_verified_email, "{deleted:?}");
    }
}

#[tokio::test]
async fn of_administrators_who_remove_each_other_at_once_one_is_left() {
    let test = test_identity().await;
    let mut users = Vec::new();
    for name in ["one", "two", "three", "four"] {
        test.make(name, Role::Admin).await;
        users.push(test.signed_in(name).await);
    }
    let attempts = users.iter().enumerate().map(|(n, by)| {
        let victim = users[(n + 1) % users.len()].user_id;
        let (test, by) = (&test, actor(by));
        async move {
            match n % 3 {
                0 => test.identity.administration.delete(&by, victim, &caller()).await,
                1 => test.identity.administration.set_role(&by, victim, Role::Viewer, &caller()).await.map(|_| ()),
                _ => test.identity.administration.edit(&by, victim, active(false), &caller()).await.map(|_| ()),
            }
        }
    });
    let results = futures_util::future::join_all(attempts).await;
    assert!(test.store.count_active_admins().await.expect("reads") >= 1, "{results:?}");
    assert!(results.iter().any(Result::is_err), "a deleted administrator deleted another one: {results:?}");
}

#[tokio::test]
async fn sr_22_disabling_or_deleting_a_user_ends_their_sessions() {
    let test = test_identity().await;
    test.make("root", Role::Admin).await;
    let ada = test.register("ada").await;
    let tokens = ada.tokens.expect("signed in");
    let by = actor(&test.signed_in("root").await);
    assert!(test.session(&tokens.access).await.is_some());
    test.identity.administration.edit(&by, ada.user.id, active(false), &caller()).await.expect("disabled");
    assert!(test.session(&tokens.access).await.is_none(), "an access token outlived its account");
    assert!(test.login("ada@example.com", PASSWORD).await.is_err());
    let enabled = test.identity.administration.edit(&by, ada.user.id, active(true), &caller()).await.expect("enabled");
    assert!(enabled.is_active && test.session(&tokens.access).await.is_none(), "the old session is back");
    let again = test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    test.identity.administration.delete(&by, ada.user.id, &caller()).await.expect("deleted");
    assert!(test.session(&again.access).await.is_none());
    let gone = test.identity.administration.user(ada.user.id).await;
    assert!(matches!(gone, Err(IdentityError::NotFound)), "{gone:?}");
    let log = test.audit().await;
    for action in ["user.disable", "user.enable", "user.delete"] {
        assert!(log.iter().any(|(done, outcome)| done == action && outcome == "success"), "{action}: {log:?}");
    }
}

#[tokio::test]
async fn sr_23_an_administrator_lists_and_ends_somebodys_sessions() {
    let test = test_identity().await;
    test.make("root", Role::Admin).await;
    let ada = test.register("ada").await;
    let tokens = ada.tokens.expect("signed in");
    let other = test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    let by = actor(&test.signed_in("root").await);
    let listed = test.identity.administration.sessions_of(&by, ada.user.id).await.expect("known");
    assert_eq!(listed.len(), 2);
    let end = async |session| test.identity.administration.end_sessions_of(&by, ada.user.id, session, &caller()).await;
    end(Some(other.session_id)).await.expect("ended");
    assert!(matches!(end(Some(other.session_id)).await, Err(IdentityError::NotFound)), "once");
    assert!(test.session(&other.access).await.is_none() && test.session(&tokens.access).await.is_some());
    end(None).await.expect("ended");
    assert!(test.session(&tokens.access).await.is_none());
}

#[tokio::test]
async fn an_invalid_edit_changes_nothing() {
    let test = test_identity().await;
    test.make("root", Role::Admin).await;
    let ada = test.make("ada", Role::Viewer).await;
    let by = actor(&test.signed_in("root").await);
    let input = UserProfileInput {
        profile: ProfileInput { first_name: Some("Augusta".to_owned()), ..ProfileInput::default() },
        is_active: Some(false),
        ..UserProfileInput::default()
    };
    let edited = test.identity.administration.edit(&by, ada, input, &caller()).await.expect("edited");
    assert_eq!((edited.first_name.as_str(), edited.is_active), ("Augusta", false));
    let wrong = UserProfileInput {
        profile: ProfileInput { first_name: Some(String::new()), ..ProfileInput::default() },
        is_active: Some(true),
        ..UserProfileInput::default()
    };
    let refused = test.identity.administration.edit(&by, ada, wrong, &caller()).await;
    assert!(matches!(refused, Err(IdentityError::Validation(_))), "{refused:?}");
    assert!(!test.store.user_by_id(ada).await.expect("reads").expect("exists").is_active);
    let unknown_user = UserId::new(&test.clock, &portcullis_model::Random::system());
    let unknown = test.identity.administration.edit(&by, unknown_user, active(true), &caller()).await;
    assert!(matches!(unknown, Err(IdentityError::NotFound)), "{unknown:?}");
}

#[tokio::test]
async fn sr_35_a_permission_lost_in_the_meantime_is_not_used() {
    let test = test_identity().await;
    test.make("root", Role::Admin).await;
    let manager = test.make("manager", Role::Manager).await;
    let ada = test.make("ada", Role::Viewer).await;
    let stale = actor(&test.signed_in("manager").await);
    test.identity
        .administration
        .set_role(&Actor::Shell, manager, Role::Viewer, &Caller::shell())
        .await
        .expect("demoted");
    let refused = test.identity.administration.edit(&stale, ada, active(false), &caller()).await;
    assert!(refusal(refused).contains("USER_EDIT"));
    test.identity.administration.delete(&Actor::Shell, manager, &Caller::shell()).await.expect("deleted");
    let refused = test.identity.administration.edit(&stale, ada, active(false), &caller()).await;
    assert!(matches!(refused, Err(IdentityError::SessionEnded)), "{refused:?}");
}

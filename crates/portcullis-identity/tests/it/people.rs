//! What administrators do with other people's accounts, and what nobody may (requirement 43).

use std::sync::Arc;

use portcullis_identity::{
    Actor, ApiKeyInput, Caller, IdentityError, Invitation, PermissionChange, ProfileInput, UserProfileInput,
};
use portcullis_model::{Permission, PermissionSet, Role, SecretString, SessionState, UserId, api_key};

use crate::house::{House, PASSWORD, caller, house};

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

async fn role_of(house: &House, id: UserId) -> Role {
    house.store.user_by_id(id).await.expect("reads").expect("exists").role
}

#[tokio::test]
async fn sr_43_nobody_gives_a_role_above_their_own_or_their_own_another() {
    let house = house().await;
    house.make("root", Role::Admin).await;
    let manager = house.make("manager", Role::Manager).await;
    let ada = house.make("ada", Role::Developer).await;
    let root = house.signed_in("root").await;
    let give = PermissionChange::Add(permission("USER_MANAGE_ROLES"));
    house.identity.administration.change_permissions(&actor(&root), manager, give, &caller()).await.expect("given");
    let boss = house.signed_in("manager").await;

    let set_role = async |by: &Arc<SessionState>, whom, role| {
        house.identity.administration.set_role(&actor(by), whom, role, &caller()).await
    };
    assert!(refusal(set_role(&boss, ada, Role::Admin).await).contains("higher than yours"));
    assert!(refusal(set_role(&boss, root.user_id, Role::Viewer).await).contains("ADMIN"));
    assert!(refusal(set_role(&boss, manager, Role::Viewer).await).contains("their own role"));
    assert!(refusal(set_role(&root, root.user_id, Role::Viewer).await).contains("their own role"), "the last one too");
    assert_eq!(role_of(&house, ada).await, Role::Developer);
    let raised = set_role(&boss, ada, Role::Manager).await.expect("up to their own");
    assert_eq!((raised.role, role_of(&house, ada).await), (Role::Manager, Role::Manager));

    let invite = async |role| {
        let invitation = Invitation {
            email: "new@example.com".to_owned(),
            username: "newcomer".to_owned(),
            first_name: "New".to_owned(),
            last_name: "Comer".to_owned(),
            role,
        };
        house.identity.administration.invite(&invitation, &actor(&boss), &caller(), None).await
    };
    assert!(refusal(invite(Role::Admin).await).contains("higher than yours"));
    assert_eq!(invite(Role::Tester).await.expect("invited").fresh().map(|user| user.role), Some(Role::Tester));
}

#[tokio::test]
async fn sr_43_nobody_gives_what_they_do_not_hold_or_anything_to_themselves() {
    let house = house().await;
    house.make("root", Role::Admin).await;
    let manager = house.make("manager", Role::Manager).await;
    let ada = house.make("ada", Role::Viewer).await;
    let root = house.signed_in("root").await;
    let identity = &house.identity;
    let change = async |by: &Arc<SessionState>, whom, change| {
        identity.administration.change_permissions(&actor(by), whom, change, &caller()).await
    };
    change(&root, manager, set(&["USER_MANAGE_PERMISSIONS"])).await.expect("given");
    let boss = house.signed_in("manager").await;
    assert!(refusal(change(&boss, ada, set(&["USER_DELETE", "USER_VIEW"])).await).contains("USER_DELETE"));
    assert!(refusal(change(&boss, manager, set(&[])).await).contains("their own"));
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

#[tokio::test]
async fn sr_43_a_key_gives_no_more_than_its_scopes_and_no_role() {
    let house = house().await;
    house.make("root", Role::Admin).await;
    let ada = house.make("ada", Role::Viewer).await;
    let root = house.signed_in("root").await;
    let scopes = ["USER_MANAGE_PERMISSIONS", "USER_VIEW", "USER_CREATE"].map(str::to_owned).to_vec();
    let input = ApiKeyInput { name: "deploy".to_owned(), scopes: Some(scopes), expires_at: None };
    let issued = house.make_key(&root, input).await;
    let digest = api_key::digest(issued.secret.expose()).expect("well-formed");
    let key =
        portcullis_model::SessionSource::load_key(&*house.sessions, digest).await.expect("answers").expect("good");
    let by = Actor::Session(key);
    let refused = house.identity.administration.change_permissions(&by, ada, set(&["USER_VIEW"]), &caller()).await;
    assert!(refusal(refused).contains("higher"), "a key with scopes has no role, and so no rank");
    let invitation = Invitation {
        email: "new@example.com".to_owned(),
        username: "newcomer".to_owned(),
        first_name: "New".to_owned(),
        last_name: "Comer".to_owned(),
        role: Role::Viewer,
    };
    refusal(house.identity.administration.invite(&invitation, &by, &caller(), None).await);
    refusal(house.identity.administration.set_role(&by, ada, Role::Tester, &caller()).await);
}

#[tokio::test]
async fn sr_43_a_key_changes_nothing_about_its_owner_and_recovering_tells_them() {
    let house = house().await;
    let root = house.make("root", Role::Admin).await;
    house.make("second", Role::Admin).await;
    let session = house.signed_in("root").await;
    let input = ApiKeyInput { name: "deploy".to_owned(), scopes: None, expires_at: None };
    let issued = house.make_key(&session, input).await;
    let digest = api_key::digest(issued.secret.expose()).expect("well-formed");
    let key =
        portcullis_model::SessionSource::load_key(&*house.sessions, digest).await.expect("answers").expect("good");
    let by = Actor::Session(key);
    refusal(house.identity.administration.edit(&by, root, active(false), &caller()).await);
    refusal(house.identity.administration.delete(&by, root, &caller()).await);
    refusal(house.identity.administration.end_sessions_of(&by, root, None, &caller()).await);
    house.mails().await;
    let new = SecretString::new("a quite different secret");
    house
        .identity
        .administration
        .recover_administrator("root@example.com", &new, &Caller::shell())
        .await
        .expect("recovered");
    assert_eq!(house.mails().await.0, ["password_changed"], "requirement 18");
}

#[tokio::test]
async fn the_last_administrator_can_be_neither_deleted_nor_demoted_nor_disabled() {
    let house = house().await;
    let root = house.make("root", Role::Admin).await;
    let session = house.signed_in("root").await;
    let by = actor(&session);
    for result in [
        house.identity.administration.delete(&by, root, &caller()).await,
        house.identity.administration.edit(&by, root, active(false), &caller()).await.map(|_| ()),
        house.identity.administration.set_role(&Actor::Shell, root, Role::Viewer, &Caller::shell()).await.map(|_| ()),
    ] {
        assert!(matches!(result, Err(IdentityError::LastAdministrator)), "{result:?}");
    }
    house.make("second", Role::Admin).await;
    house.identity.administration.edit(&by, root, active(false), &caller()).await.expect("another one is left");
}

#[tokio::test]
async fn of_administrators_who_remove_each_other_at_once_one_is_left() {
    let house = house().await;
    let mut people = Vec::new();
    for name in ["one", "two", "three", "four"] {
        house.make(name, Role::Admin).await;
        people.push(house.signed_in(name).await);
    }
    let attempts = people.iter().enumerate().map(|(n, by)| {
        let victim = people[(n + 1) % people.len()].user_id;
        let (house, by) = (&house, actor(by));
        async move {
            match n % 3 {
                0 => house.identity.administration.delete(&by, victim, &caller()).await,
                1 => house.identity.administration.set_role(&by, victim, Role::Viewer, &caller()).await.map(|_| ()),
                _ => house.identity.administration.edit(&by, victim, active(false), &caller()).await.map(|_| ()),
            }
        }
    });
    let results = futures_util::future::join_all(attempts).await;
    assert!(house.store.count_active_admins().await.expect("reads") >= 1, "{results:?}");
    assert!(results.iter().any(Result::is_err), "somebody who was removed went on removing: {results:?}");
}

#[tokio::test]
async fn sr_22_disabling_and_deleting_by_an_administrator_ends_everything_at_once() {
    let house = house().await;
    house.make("root", Role::Admin).await;
    let ada = house.register("ada").await;
    let tokens = ada.tokens.expect("signed in");
    let by = actor(&house.signed_in("root").await);
    assert!(house.session(&tokens.access).await.is_some());
    house.identity.administration.edit(&by, ada.user.id, active(false), &caller()).await.expect("disabled");
    assert!(house.session(&tokens.access).await.is_none(), "an access token outlived its account");
    assert!(house.login("ada@example.com", PASSWORD).await.is_err());
    let enabled = house.identity.administration.edit(&by, ada.user.id, active(true), &caller()).await.expect("enabled");
    assert!(enabled.is_active && house.session(&tokens.access).await.is_none(), "the old session is back");
    let again = house.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    house.identity.administration.delete(&by, ada.user.id, &caller()).await.expect("deleted");
    assert!(house.session(&again.access).await.is_none());
    let gone = house.identity.administration.user(ada.user.id).await;
    assert!(matches!(gone, Err(IdentityError::NotFound)), "{gone:?}");
    let log = house.audit().await;
    for action in ["user.disable", "user.enable", "user.delete"] {
        assert!(log.iter().any(|(done, outcome)| done == action && outcome == "success"), "{action}: {log:?}");
    }
}

#[tokio::test]
async fn sr_23_an_administrator_lists_and_ends_somebodys_sessions() {
    let house = house().await;
    house.make("root", Role::Admin).await;
    let ada = house.register("ada").await;
    let tokens = ada.tokens.expect("signed in");
    let other = house.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    let by = actor(&house.signed_in("root").await);
    let listed = house.identity.administration.sessions_of(ada.user.id).await.expect("known");
    assert_eq!(listed.len(), 2);
    let end = async |session| house.identity.administration.end_sessions_of(&by, ada.user.id, session, &caller()).await;
    end(Some(other.session_id)).await.expect("ended");
    assert!(matches!(end(Some(other.session_id)).await, Err(IdentityError::NotFound)), "once");
    assert!(house.session(&other.access).await.is_none() && house.session(&tokens.access).await.is_some());
    end(None).await.expect("ended");
    assert!(house.session(&tokens.access).await.is_none());
}

#[tokio::test]
async fn names_are_changed_and_what_is_wrong_is_told_before_anything_changes() {
    let house = house().await;
    house.make("root", Role::Admin).await;
    let ada = house.make("ada", Role::Viewer).await;
    let by = actor(&house.signed_in("root").await);
    let input = UserProfileInput {
        profile: ProfileInput { first_name: Some("Augusta".to_owned()), ..ProfileInput::default() },
        is_active: Some(false),
    };
    let edited = house.identity.administration.edit(&by, ada, input, &caller()).await.expect("edited");
    assert_eq!((edited.first_name.as_str(), edited.is_active), ("Augusta", false));
    let wrong = UserProfileInput {
        profile: ProfileInput { first_name: Some(String::new()), ..ProfileInput::default() },
        is_active: Some(true),
    };
    let refused = house.identity.administration.edit(&by, ada, wrong, &caller()).await;
    assert!(matches!(refused, Err(IdentityError::Validation(_))), "{refused:?}");
    assert!(!house.store.user_by_id(ada).await.expect("reads").expect("exists").is_active);
    let nobody = UserId::new(&house.clock, &portcullis_model::Random::system());
    let unknown = house.identity.administration.edit(&by, nobody, active(true), &caller()).await;
    assert!(matches!(unknown, Err(IdentityError::NotFound)), "{unknown:?}");
}

#[tokio::test]
async fn sr_35_who_loses_a_power_while_waiting_does_not_use_it() {
    let house = house().await;
    house.make("root", Role::Admin).await;
    let manager = house.make("manager", Role::Manager).await;
    let ada = house.make("ada", Role::Viewer).await;
    let stale = actor(&house.signed_in("manager").await);
    house
        .identity
        .administration
        .set_role(&Actor::Shell, manager, Role::Viewer, &Caller::shell())
        .await
        .expect("demoted");
    let refused = house.identity.administration.edit(&stale, ada, active(false), &caller()).await;
    assert!(refusal(refused).contains("USER_EDIT"));
    house.identity.administration.delete(&Actor::Shell, manager, &Caller::shell()).await.expect("deleted");
    let refused = house.identity.administration.edit(&stale, ada, active(false), &caller()).await;
    assert!(refusal(refused).contains("disabled or deleted"));
}

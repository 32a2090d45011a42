//! Taking an account back: whatever somebody else left on it ends (SR-51).

use portcullis_identity::{
    Actor, ApiKeyInput, Caller, ChangePasswordInput, IdentityError, IdentityOptions, ImportRow, Invitation,
    ProfileInput, RegistrationMode, RegistrationOptions, UserProfileInput,
};
use portcullis_model::mail::MailKind;
use portcullis_model::{Role, SecretString, SessionId, SessionSource, UserId, api_key};
use portcullis_storage::NewApiKey;

use crate::reset_password::reset;
use crate::test_identity::{PASSWORD, TestIdentity, caller, options, test_identity, test_identity_with};

const NEW: &str = "a quite different secret";

/// Stores an API key of a user, as a version that asked for no confirmed address may have done, and returns its digest.
async fn plant_key(test: &TestIdentity, owner: UserId) -> [u8; 32] {
    let random = portcullis_model::Random::system();
    let secret = api_key::generate(&random);
    let hash = api_key::digest(secret.expose()).expect("well-formed");
    let key = api_key::ApiKey {
        id: SessionId::new(&test.clock, &random),
        name: "planted".to_owned(),
        prefix: "pk_plant".to_owned(),
        scopes: None,
        expires_at: None,
        last_used_at: None,
        created_at: test.clock.now(),
    };
    let mut tx = test.store.begin().await.expect("begins");
    tx.insert_api_key(&NewApiKey { key, user_id: owner, hash }).await.expect("is new");
    tx.commit().await.expect("commits");
    assert!(works(test, hash).await, "the key works at first");
    hash
}

/// Whether the gate would find the key, in the session cache or in the database.
async fn works(test: &TestIdentity, digest: [u8; 32]) -> bool {
    test.sessions.cached_key(&digest).is_some() || test.sessions.load_key(digest).await.expect("reads").is_some()
}

fn active(is_active: bool) -> UserProfileInput {
    UserProfileInput { is_active: Some(is_active), ..UserProfileInput::default() }
}

async fn edit(test: &TestIdentity, id: UserId, input: UserProfileInput) {
    test.identity.administration.edit(&Actor::Shell, id, input, &caller()).await.expect("edited");
}

/// Requests a reset and follows the mailed link.
async fn reset_by_mail(test: &TestIdentity, email: &str) {
    test.mails().await;
    test.identity.passwords.forgot(email, &caller()).await.expect("asked");
    let token = test.mailed_token("reset_password").await;
    reset(test, &token, NEW).await.expect("reset");
}

#[tokio::test]
async fn sr_51_a_reset_ends_every_api_key() {
    let test = test_identity().await;
    let ada = test.register("ada").await.user.id;
    let key = plant_key(&test, ada).await;
    reset_by_mail(&test, "ada@example.com").await;
    assert!(!works(&test, key).await);
    assert_eq!(test.mails().await.0, ["password_reset"]);
}

/// The names of a user, with the avatar.
async fn names(test: &TestIdentity, user: UserId) -> (String, String, Option<String>) {
    let user = test.store.user_by_id(user).await.expect("reads").expect("exists");
    (user.first_name.as_str().to_owned(), user.last_name.as_str().to_owned(), user.avatar)
}

fn ada_lovelace() -> (String, String, Option<String>) {
    ("Ada".to_owned(), "Lovelace".to_owned(), None)
}

#[tokio::test]
async fn sr_51_a_reset_drops_names_from_before_the_confirmation() {
    let test = test_identity().await;
    let ada = test.register("ada").await.user.id;
    let avatar = Some(Some("https://evil.example/a.png".to_owned()));
    let profile = ProfileInput { avatar, ..ProfileInput::default() };
    edit(&test, ada, UserProfileInput { profile, ..UserProfileInput::default() }).await;
    reset_by_mail(&test, "ada@example.com").await;
    assert_eq!(names(&test, ada).await, ("ada".to_owned(), "-".to_owned(), None));
}

#[tokio::test]
async fn sr_51_a_recovery_drops_names_from_before_the_confirmation() {
    let test = test_identity().await;
    let ada = test.register("ada").await.user.id;
    let administration = &test.identity.administration;
    let new = SecretString::new(NEW);
    administration.recover_administrator("ada@example.com", &new, &Caller::shell()).await.expect("recovered");
    assert_eq!(names(&test, ada).await, ("ada".to_owned(), "-".to_owned(), None));
}

#[tokio::test]
async fn a_reset_keeps_the_names_of_a_confirmed_user() {
    let test = test_identity().await;
    let ada = test.register("ada").await.user.id;
    test.confirm(ada).await;
    reset_by_mail(&test, "ada@example.com").await;
    assert_eq!(names(&test, ada).await, ada_lovelace());
}

#[tokio::test]
async fn an_accepted_invitation_keeps_the_names_of_the_inviter() {
    let test = test_identity().await;
    let invitation = Invitation {
        email: "ada@example.com".to_owned(),
        username: "ada".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        role: Role::Tester,
    };
    let invited = test.identity.administration.invite(&invitation, &Actor::Shell, &caller(), None).await;
    let ada = invited.expect("invited").fresh().expect("invited now").id;
    let token = test.mailed_token("invitation").await;
    reset(&test, &token, NEW).await.expect("accepted");
    assert_eq!(names(&test, ada).await, ada_lovelace());
}

#[tokio::test]
async fn sr_51_recovery_by_the_shell_ends_every_api_key() {
    let test = test_identity().await;
    let ada = test.register("ada").await.user.id;
    let key = plant_key(&test, ada).await;
    let new = SecretString::new(NEW);
    let administration = &test.identity.administration;
    administration.recover_administrator("ada@example.com", &new, &Caller::shell()).await.expect("recovered");
    assert!(!works(&test, key).await);
}

#[tokio::test]
async fn sr_51_accepting_an_invitation_ends_every_api_key() {
    let test = test_identity().await;
    let invitation = Invitation {
        email: "grace@example.com".to_owned(),
        username: "grace".to_owned(),
        first_name: "Grace".to_owned(),
        last_name: "Hopper".to_owned(),
        role: Role::Tester,
    };
    let invited = test.identity.administration.invite(&invitation, &Actor::Shell, &caller(), None).await;
    let grace = invited.expect("invited").fresh().expect("invited now").id;
    let key = plant_key(&test, grace).await;
    let token = test.mailed_token("invitation").await;
    reset(&test, &token, NEW).await.expect("accepted");
    assert!(!works(&test, key).await);
}

#[tokio::test]
async fn sr_51_a_disabled_user_is_enabled_without_api_keys() {
    let test = test_identity().await;
    let ada = test.make("ada", Role::Developer).await;
    let key = plant_key(&test, ada).await;
    edit(&test, ada, active(false)).await;
    edit(&test, ada, active(true)).await;
    assert!(!works(&test, key).await);
}

#[tokio::test]
async fn sr_51_a_link_from_before_a_disabling_sets_nothing() {
    let test = test_identity().await;
    let ada = test.make("ada", Role::Developer).await;
    test.identity.passwords.forgot("ada@example.com", &caller()).await.expect("asked");
    let token = test.mailed_token("reset_password").await;
    edit(&test, ada, active(false)).await;
    edit(&test, ada, active(true)).await;
    let refused = reset(&test, &token, NEW).await;
    assert!(matches!(refused, Err(IdentityError::InvalidResetToken)), "{refused:?}");
}

#[tokio::test]
async fn sr_51_a_reset_drops_waiting_mails_and_every_link() {
    let test = test_identity().await;
    let ada = test.register("ada").await.user.id;
    let verification = test.mailed_token("verify_email").await;
    test.identity.passwords.forgot("ada@example.com", &caller()).await.expect("asked");
    let token = test.mailed_token("reset_password").await;
    let mut tx = test.store.begin().await.expect("begins");
    let waits = tx.enqueue_mail(MailKind::Invitation, ada, test.clock.now()).await.expect("runs");
    assert!(waits, "it is queued");
    tx.commit().await.expect("commits");
    reset(&test, &token, NEW).await.expect("reset");
    assert_eq!(test.mails().await.0, ["password_reset"]);
    let verified = test.identity.registration.verify_email(&verification, &caller()).await;
    assert!(matches!(verified, Err(IdentityError::InvalidVerificationToken)), "{verified:?}");
}

#[tokio::test]
async fn sr_51_a_change_of_the_password_leaves_the_api_keys() {
    let test = test_identity().await;
    let ada = test.make("ada", Role::Developer).await;
    let session = test.signed_in("ada").await;
    let key = plant_key(&test, ada).await;
    let secret = SecretString::new;
    let input = ChangePasswordInput { current: secret(PASSWORD), new: secret(NEW), confirm: secret(NEW) };
    test.identity.passwords.change(&session, &input, &caller()).await.expect("changed");
    assert!(works(&test, key).await);
    assert_eq!(test.mails().await.0, ["password_changed"]);
}

#[tokio::test]
async fn sr_51_an_unconfirmed_address_gets_no_api_key() {
    let test = test_identity().await;
    let ada = test.register("ada").await;
    let session = test.session(&ada.tokens.expect("signed in").access).await.expect("live");
    let input = || ApiKeyInput { name: "deploy".to_owned(), scopes: None, expires_at: None };
    let refused = test.identity.api_keys.create(&session, input(), &caller(), None).await;
    assert!(matches!(refused, Err(IdentityError::KeyNeedsVerifiedEmail)), "{refused:?}");
    edit(&test, ada.user.id, UserProfileInput { verify_email: true, ..UserProfileInput::default() }).await;
    // The session was read before: what counts is what the database says now.
    test.make_key(&session, input()).await;
}

#[tokio::test]
async fn sr_51_imported_users_count_as_confirmed_by_default() {
    let test = test_identity().await;
    let row = |name: &str, verified| ImportRow {
        email: format!("{name}@example.com"),
        username: name.to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        is_email_verified: verified,
        ..ImportRow::default()
    };
    let rows = vec![row("silent", None), row("confirmed", Some(true)), row("unconfirmed", Some(false))];
    test.identity.import.users(rows, false, &Caller::shell()).await.expect("imported");
    let verified = async |name: &str| {
        let user = test.identity.administration.find(&format!("{name}@example.com")).await.expect("reads");
        user.expect("imported").is_email_verified()
    };
    assert_eq!(
        [verified("silent").await, verified("confirmed").await, verified("unconfirmed").await],
        [true, true, false]
    );
}

#[tokio::test]
async fn a_recovered_administrator_can_sign_in() {
    let registration =
        RegistrationOptions { mode: RegistrationMode::Open, require_verified_email: true, reveal_existing: true };
    let test = test_identity_with(IdentityOptions { registration, ..options() }).await;
    test.register("ada").await;
    let new = SecretString::new(NEW);
    let administration = &test.identity.administration;
    administration.recover_administrator("ada@example.com", &new, &Caller::shell()).await.expect("recovered");
    test.login("ada@example.com", NEW).await.expect("the operator vouches for the address");
}

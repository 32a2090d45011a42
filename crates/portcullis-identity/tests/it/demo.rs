//! The demo account, in development and where it is refused.

use std::sync::Arc;

use portcullis_identity::{
    ApiKeyInput, Caller, IdentityError, Logout, ProfileInput, RowOutcome, StartError, UserProfileInput,
};
use portcullis_model::policy::Environment;
use portcullis_model::{Email, Role, SecretString, SessionState, UserId};

use crate::test_identity::{
    TestIdentity, caller, options, registration_form, test_identity, test_identity_in, test_identity_with, with_demo,
};

const EMAIL: &str = "demo@example.com";
const PASSWORD: &str = "a demo password";

async fn development() -> TestIdentity {
    test_identity_with(with_demo(Environment::Development)).await
}

/// The same database under other settings, as after a restart.
async fn restarted(test: TestIdentity, options: portcullis_identity::IdentityOptions) -> TestIdentity {
    let TestIdentity { folder, clock, .. } = test;
    test_identity_in(folder, clock, options).await
}

async fn demo_session(test: &TestIdentity) -> Arc<SessionState> {
    let signed_in = test.login(EMAIL, PASSWORD).await.expect("signed in");
    test.session(&signed_in.tokens.access).await.expect("live")
}

#[tokio::test]
async fn the_demo_account_is_an_administrator_with_a_fixed_id() {
    let test = development().await;
    let user = test.login(EMAIL, PASSWORD).await.expect("signed in").user;
    assert_eq!((user.id, user.role, user.email.as_str()), (UserId::DEMO, Role::Admin, EMAIL));
    assert_eq!(test.store.user_by_id(UserId::DEMO).await.expect("reads").expect("a row").username.as_str(), "demo");
}

#[tokio::test]
async fn the_demo_account_refreshes_and_signs_out_like_any_user() {
    let test = development().await;
    let tokens = test.login(EMAIL, PASSWORD).await.expect("signed in").tokens;
    let other = test.login(EMAIL, PASSWORD).await.expect("signed in").tokens;
    let refreshed = test.identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await.expect("refreshed");
    assert_ne!(refreshed.refresh.expose(), tokens.refresh.expose());
    let session = test.session(&refreshed.access).await.expect("live");
    assert_eq!(test.identity.users.profile(&session).await.expect("read").email.as_str(), EMAIL);
    let logout = Logout { session: Some(session), refresh_token: None, all: false };
    test.identity.sign_in.logout(logout, &caller()).await.expect("signed out");
    assert!(test.session(&refreshed.access).await.is_none());
    assert!(test.session(&other.access).await.is_some(), "another visitor's session");
}

#[tokio::test]
async fn the_demo_account_changes_nothing_about_itself() {
    let test = development().await;
    let session = demo_session(&test).await;
    let identity = &test.identity;
    let profile = ProfileInput { first_name: Some("Eve".to_owned()), ..Default::default() };
    let refused = identity.users.update_profile(&session, profile, &caller()).await;
    assert!(matches!(refused, Err(IdentityError::DemoReadOnly)));
    let refused = identity.sessions.end(&session, session.id, &caller()).await;
    assert!(matches!(refused, Err(IdentityError::DemoReadOnly)));
    let key = ApiKeyInput { name: "key".to_owned(), scopes: None, expires_at: None };
    let refused = identity.api_keys.create(&session, key, &caller(), None).await;
    assert!(matches!(refused, Err(IdentityError::DemoReadOnly)));
    let password = portcullis_identity::ChangePasswordInput {
        current: SecretString::new(PASSWORD),
        new: SecretString::new("another fine password"),
        confirm: SecretString::new("another fine password"),
    };
    let refused = identity.passwords.change(&session, &password, &caller()).await;
    assert!(matches!(refused, Err(IdentityError::DemoReadOnly)));
}

#[tokio::test]
async fn nobody_changes_the_demo_account() {
    let test = development().await;
    let (identity, shell) = (&test.identity, portcullis_identity::Actor::Shell);
    let disabled = UserProfileInput { is_active: Some(false), ..Default::default() };
    let administration = &identity.administration;
    let edited = administration.edit(&shell, UserId::DEMO, disabled, &caller()).await.map(|_| ());
    let demoted = administration.set_role(&shell, UserId::DEMO, Role::Viewer, &caller()).await.map(|_| ());
    let deleted = administration.delete(&shell, UserId::DEMO, &caller()).await;
    let password = SecretString::new("another fine password");
    let recovered = administration.recover_administrator(EMAIL, &password, &caller()).await.map(|_| ());
    let linked = identity.passwords.reset_link(UserId::DEMO, &caller()).await.map(|_| ());
    let mailed = identity.passwords.mail_reset_link(UserId::DEMO, &caller()).await;
    for refused in [edited, demoted, deleted, recovered, linked, mailed] {
        assert!(matches!(refused, Err(IdentityError::DemoReadOnly)), "{refused:?}");
    }
}

#[tokio::test]
async fn the_demo_account_gets_no_mail() {
    let test = development().await;
    test.identity.passwords.forgot(EMAIL, &caller()).await.expect("the same response for every address");
    test.identity.registration.resend_verification(EMAIL, &caller()).await.expect("the same response");
    assert_eq!(test.store.counted().await.expect("counted").mails_waiting, 0);
}

#[tokio::test]
async fn sr_45_the_demo_account_is_not_the_first_administrator() {
    let test = development().await;
    let token = test.identity.registration.first_administrator_token().await.expect("asked").expect("none yet");
    test.identity
        .registration
        .claim_first_administrator(token.expose(), registration_form("ada"), &caller())
        .await
        .expect("made");
    assert!(test.identity.registration.first_administrator_token().await.expect("asked").is_none());
}

#[tokio::test]
async fn the_demo_account_is_not_the_last_administrator() {
    let test = development().await;
    let ada = test.make("ada", Role::Admin).await;
    let session = portcullis_identity::Actor::Session(demo_session(&test).await);
    let refused = test.identity.administration.set_role(&session, ada, Role::Viewer, &caller()).await;
    assert!(matches!(refused, Err(IdentityError::LastAdministrator)), "{refused:?}");
}

#[tokio::test]
async fn in_production_the_exact_pair_has_its_own_refusal() {
    let production = test_identity_with(with_demo(Environment::Production)).await;
    assert!(matches!(production.login(EMAIL, PASSWORD).await, Err(IdentityError::DemoInProduction)));
    assert!(matches!(production.login(EMAIL, "wrong").await, Err(IdentityError::InvalidCredentials)));
    assert!(production.store.user_by_id(UserId::DEMO).await.expect("reads").is_none(), "a row was made");
}

#[tokio::test]
async fn a_stored_demo_account_is_refused_where_demo_mode_is_off() {
    for off in [with_demo(Environment::Production), options()] {
        let development = development().await;
        let tokens = development.login(EMAIL, PASSWORD).await.expect("signed in").tokens;
        let id = tokens.session_id;
        let test = restarted(development, off).await;
        assert!(test.store.user_by_id(UserId::DEMO).await.expect("reads").is_some());
        let refused = test.login(EMAIL, PASSWORD).await;
        assert!(matches!(refused, Err(IdentityError::DemoInProduction | IdentityError::InvalidCredentials)));
        let refused = test.login(" DEMO@example.com", PASSWORD).await;
        assert!(matches!(refused, Err(IdentityError::InvalidCredentials)), "another spelling signs in");
        assert!(test.session(&tokens.access).await.is_none(), "the access token is accepted");
        let source = test.identity.sessions.source();
        assert!(source.load(id, 1).await.expect("reads").is_none(), "the session is accepted");
        assert!(test.identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await.is_err());
        let logout = Logout { session: None, refresh_token: Some(tokens.refresh), all: true };
        assert!(test.identity.sign_in.logout(logout, &caller()).await.is_err());
    }
}

#[tokio::test]
async fn a_stored_api_key_of_the_demo_account_is_refused() {
    let development = development().await;
    let secret = portcullis_model::api_key::generate(&portcullis_model::Random::system());
    let digest = portcullis_model::api_key::digest(secret.expose()).expect("well formed");
    let key = portcullis_model::api_key::ApiKey {
        id: portcullis_model::SessionId::new(&development.clock, &portcullis_model::Random::system()),
        name: "planted".to_owned(),
        prefix: "pk_planted".to_owned(),
        scopes: None,
        expires_at: None,
        last_used_at: None,
        created_at: development.clock.now(),
    };
    let mut tx = development.store.begin().await.expect("begins");
    let planted = portcullis_storage::NewApiKey { key, user_id: UserId::DEMO, hash: digest };
    tx.insert_api_key(&planted).await.expect("inserted");
    tx.commit().await.expect("committed");
    let test = restarted(development, with_demo(Environment::Production)).await;
    assert!(test.identity.sessions.source().load_key(digest).await.expect("reads").is_none());
}

#[tokio::test]
async fn new_demo_credentials_in_the_settings_end_the_old_sessions() {
    let test = development().await;
    let tokens = test.login(EMAIL, PASSWORD).await.expect("signed in").tokens;
    let mut changed = with_demo(Environment::Development);
    let demo = changed.demo.as_mut().expect("enabled");
    demo.email = Email::parse("visitor@example.com").expect("valid");
    demo.password = SecretString::new("another demo password");
    let test = restarted(test, changed).await;
    assert!(test.login("visitor@example.com", "another demo password").await.is_ok());
    assert!(matches!(test.login(EMAIL, PASSWORD).await, Err(IdentityError::InvalidCredentials)));
    assert!(test.session(&tokens.access).await.is_none());
}

#[tokio::test]
async fn an_unchanged_demo_account_keeps_its_sessions_at_a_restart() {
    let test = development().await;
    let tokens = test.login(EMAIL, PASSWORD).await.expect("signed in").tokens;
    let test = restarted(test, with_demo(Environment::Development)).await;
    assert!(test.session(&tokens.access).await.is_some());
}

#[tokio::test]
async fn an_address_that_a_user_has_stops_the_start_with_a_hint() {
    let test = test_identity().await;
    test.register("demo").await;
    let refused = test.identity_with(with_demo(Environment::Development)).await.demo_account.prepare().await;
    let refused = refused.expect_err("the address is taken");
    assert!(matches!(&refused, StartError::DemoEmailTaken { email } if email == EMAIL), "{refused:?}");
    assert!(refused.hint().expect("a hint").contains("DEMO_USER_EMAIL"));
}

#[tokio::test]
async fn a_taken_username_does_not_stop_the_start() {
    let test = test_identity().await;
    let mut input = registration_form("demo");
    input.email = "ada@example.com".to_owned();
    test.identity.registration.register(input, &caller()).await.expect("registered");
    let test = restarted(test, with_demo(Environment::Development)).await;
    let user = test.login(EMAIL, PASSWORD).await.expect("signed in").user;
    assert_eq!((user.id, user.username.as_str()), (UserId::DEMO, "demo-account"));
}

#[tokio::test]
async fn an_import_does_not_create_the_demo_account() {
    let test = test_identity().await;
    let row = portcullis_identity::ImportRow {
        id: Some(UserId::DEMO.to_string()),
        email: EMAIL.to_owned(),
        username: "demo".to_owned(),
        first_name: "Demo".to_owned(),
        last_name: "User".to_owned(),
        ..Default::default()
    };
    let outcomes = test.identity.import.users(vec![row], false, &Caller::shell()).await.expect("imported");
    assert!(matches!(&outcomes[..], [RowOutcome::Refused(why)] if why.contains("demo account")), "{outcomes:?}");
}

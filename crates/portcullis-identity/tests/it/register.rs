use std::sync::Arc;

use portcullis_identity::{IdentityError, IdentityOptions, RegisterOutcome, RegistrationMode, RegistrationOptions};
use portcullis_model::{Email, Role, SecretString};

use crate::test_identity::{Mailbox, PASSWORD, caller, options, registration_form, test_identity, test_identity_with};

#[tokio::test]
async fn a_registration_creates_a_developer_with_a_session() {
    let test = test_identity().await;
    let mut input = registration_form("ada");
    input.email = " Ada@EXAMPLE.com ".to_owned();
    input.username = " Ada ".to_owned();
    let outcome = test.identity.registration.register(input, &caller()).await.expect("registered");
    let RegisterOutcome::Registered(registered) = outcome else { panic!("existing accounts are revealed here") };
    assert_eq!(registered.user.role, Role::Developer);
    assert_eq!(registered.user.email.as_str(), "ada@example.com");
    assert_eq!(registered.user.username.as_str(), "ada");
    assert!(
        registered.user.is_active && !registered.user.is_email_verified() && registered.requires_email_verification
    );
    let tokens = registered.tokens.expect("signed in");
    let session = test.session(&tokens.access).await.expect("live");
    assert_eq!((session.user_id, session.role), (registered.user.id, Role::Developer));
    assert_eq!(tokens.expires_in, 86_400);
}

#[tokio::test]
async fn sr_06_the_stored_password_is_an_argon2id_hash_at_full_cost() {
    let test = test_identity().await;
    test.register("ada").await;
    let stored = test
        .store
        .credentials_by_email(&Email::parse("ada@example.com").expect("valid"))
        .await
        .expect("read")
        .expect("known");
    let hash = stored.password_hash.expect("a password");
    assert!(hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.expose());
    assert!(!hash.expose().contains(PASSWORD));
}

#[tokio::test]
async fn a_taken_email_or_username_is_refused_in_any_spelling() {
    let test = test_identity().await;
    test.register("ada").await;
    let mut email = registration_form("other");
    email.email = "ADA@example.com".to_owned();
    assert!(matches!(test.identity.registration.register(email, &caller()).await, Err(IdentityError::UserExists)));
    let mut username = registration_form("other");
    username.username = "ADA".to_owned();
    assert!(matches!(
        test.identity.registration.register(username, &caller()).await,
        Err(IdentityError::UsernameTaken)
    ));
    assert!(test.audit().await.contains(&("auth.register".to_owned(), "failure".to_owned())));
}

#[tokio::test]
async fn a_registration_reports_all_problems_at_once() {
    let test = test_identity().await;
    let mut input = registration_form("ada");
    input.confirm_password = SecretString::new("something else");
    assert!(matches!(
        test.identity.registration.register(input, &caller()).await,
        Err(IdentityError::PasswordsDoNotMatch)
    ));
    let mut input = registration_form("ada");
    (input.email, input.username, input.password) = ("x".to_owned(), "!".to_owned(), SecretString::new("short"));
    match test.identity.registration.register(input, &caller()).await {
        Err(IdentityError::Validation(problems)) => assert_eq!(problems.len(), 3, "{problems:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(test.identity.password_hasher.hashes(), 0, "nothing was hashed for values that are refused");
}

#[tokio::test]
async fn a_hidden_known_address_gets_a_mail_and_the_same_response() {
    let quiet =
        RegistrationOptions { mode: RegistrationMode::Open, require_verified_email: false, reveal_existing: false };
    let test = test_identity_with(IdentityOptions { registration: quiet, ..options() }).await;
    for username in ["ada", "countess"] {
        let form = portcullis_identity::RegisterInput { username: username.to_owned(), ..registration_form("ada") };
        let outcome = test.identity.registration.register(form, &caller()).await;
        assert!(matches!(outcome, Ok(RegisterOutcome::Received)), "{outcome:?}");
    }
    assert!(test.login("ada@example.com", PASSWORD).await.is_ok(), "the first one made the account");
    let mailbox = Mailbox::default();
    test.identity.mailer.send_due(&mailbox).await.expect("sent");
    let mut templates: Vec<_> = mailbox.0.lock().expect("sound").iter().map(|mail| mail.kind.as_str()).collect();
    templates.sort_unstable();
    assert_eq!(templates, ["already_registered", "verify_email"]);
}

#[tokio::test]
async fn sr_12_a_verification_token_is_stored_hashed_and_works_once() {
    let test = test_identity().await;
    let registered = test.register("ada").await;
    let mailbox = Mailbox::default();
    assert_eq!(test.identity.mailer.send_due(&mailbox).await.expect("sent"), 1);
    assert_eq!(test.identity.mailer.send_due(&mailbox).await.expect("sent"), 0, "each mail goes once");
    let mail = mailbox.0.lock().expect("sound").pop().expect("a mail");
    assert_eq!(mail.to.as_str(), "ada@example.com");
    let token = mail.link.expose().split('#').nth(1).expect("in the fragment").to_owned();
    let stored = test.stored();
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("ada@example.com"), "looked in the wrong place");
    assert!(!holds(&token), "the token itself is in the database");
    assert!(matches!(
        test.identity.registration.verify_email("nonsense", &caller()).await,
        Err(IdentityError::InvalidVerificationToken)
    ));
    test.identity.registration.verify_email(&token, &caller()).await.expect("verified");
    assert!(test.store.user_by_id(registered.user.id).await.expect("read").expect("known").is_email_verified());
    let again = test.identity.registration.verify_email(&token, &caller()).await;
    assert!(matches!(again, Err(IdentityError::InvalidVerificationToken)), "{again:?}");
}

#[tokio::test]
async fn a_verification_link_expires() {
    let test = test_identity().await;
    test.register("ada").await;
    let mailbox = Mailbox::default();
    test.identity.mailer.send_due(&mailbox).await.expect("sent");
    let mail = mailbox.0.lock().expect("sound").pop().expect("a mail");
    let token = mail.link.expose().split('#').nth(1).expect("in the fragment").to_owned();
    test.clock.advance(std::time::Duration::from_secs(24 * 3600 + 1));
    assert!(matches!(
        test.identity.registration.verify_email(&token, &caller()).await,
        Err(IdentityError::InvalidVerificationToken)
    ));
}

#[tokio::test]
async fn closed_registration_and_required_verification_hold() {
    let closed =
        RegistrationOptions { mode: RegistrationMode::Closed, require_verified_email: false, reveal_existing: true };
    let test = test_identity_with(IdentityOptions { registration: closed, ..options() }).await;
    assert!(matches!(
        test.identity.registration.register(registration_form("ada"), &caller()).await,
        Err(IdentityError::RegistrationClosed)
    ));
    let strict =
        RegistrationOptions { mode: RegistrationMode::Open, require_verified_email: true, reveal_existing: true };
    let test = test_identity_with(IdentityOptions { registration: strict, ..options() }).await;
    assert!(test.register("ada").await.tokens.is_none());
    assert!(matches!(test.login("ada@example.com", PASSWORD).await, Err(IdentityError::EmailNotVerified)));
}

#[tokio::test]
async fn sr_45_the_first_administrator_link_works_once() {
    let test = test_identity().await;
    let old =
        test.identity.registration.first_administrator_token().await.expect("storage").expect("no administrator yet");
    let token =
        test.identity.registration.first_administrator_token().await.expect("storage").expect("no administrator yet");
    let claim = |token: String, name: &'static str| {
        let identity = Arc::clone(&test.identity);
        async move { identity.registration.claim_first_administrator(&token, registration_form(name), &caller()).await }
    };
    assert!(matches!(claim("nonsense".to_owned(), "root").await, Err(IdentityError::SetupUnavailable)));
    assert!(
        matches!(claim(old.expose().to_owned(), "root").await, Err(IdentityError::SetupUnavailable)),
        "a newer link replaced it"
    );
    // Two browsers at once: one of them makes the administrator.
    let (first, second) =
        tokio::join!(claim(token.expose().to_owned(), "root1"), claim(token.expose().to_owned(), "root2"));
    assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1);
    assert!(test.identity.registration.first_administrator_token().await.expect("storage").is_none());
    assert_eq!(test.store.count_active_admins().await.expect("storage"), 1);
}

#[tokio::test]
async fn the_first_administrators_link_expires_after_half_an_hour() {
    let test = test_identity().await;
    let token =
        test.identity.registration.first_administrator_token().await.expect("storage").expect("no administrator yet");
    test.clock.advance(std::time::Duration::from_secs(30 * 60 + 1));
    let result = test
        .identity
        .registration
        .claim_first_administrator(token.expose(), registration_form("root"), &caller())
        .await;
    assert!(matches!(result, Err(IdentityError::SetupUnavailable)));
}

#[tokio::test]
async fn sr_45_once_there_is_an_administrator_the_setup_costs_no_hash() {
    let test = test_identity().await;
    let token =
        test.identity.registration.first_administrator_token().await.expect("storage").expect("no administrator yet");
    test.identity
        .registration
        .claim_first_administrator(token.expose(), registration_form("root"), &caller())
        .await
        .expect("claimed");
    let hashes = test.identity.password_hasher.hashes();
    let again = test
        .identity
        .registration
        .claim_first_administrator(token.expose(), registration_form("mallory"), &caller())
        .await;
    assert!(matches!(again, Err(IdentityError::SetupUnavailable)), "{again:?}");
    assert_eq!(test.identity.password_hasher.hashes(), hashes, "anybody can keep the hashing room busy");
}

#[tokio::test]
async fn a_mail_older_than_three_days_is_given_up() {
    let test = test_identity().await;
    test.register("ada").await;
    test.clock.advance(4 * crate::test_identity::DAY);
    let (sent, _) = test.mails().await;
    assert!(sent.is_empty(), "{sent:?}");
    assert_eq!(test.store.counted().await.expect("reads").mails_waiting, 0, "it is not tried again");
}

//! What strangers can pile up at an account: sessions and mails (SR-52, SR-58).

use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use portcullis_identity::{IdentityError, RegisterOutcome, RegistrationMode, RegistrationOptions};
use portcullis_model::mail::{MailError, MailKind, MailSender, OutgoingMail};
use portcullis_storage::Prunable;

use crate::reset_password::reset;
use crate::test_identity::{
    PASSWORD, TestIdentity, caller, options, registration_form, test_identity, test_identity_with,
};

const MINUTE: Duration = Duration::from_secs(60);

async fn request_reset(test: &TestIdentity) {
    test.identity.passwords.forgot("ada@example.com", &caller()).await.expect("the same answer for everybody");
}

#[tokio::test]
async fn sr_52_a_sign_in_too_many_ends_the_oldest_session() {
    let mut few = options();
    few.lifetimes.max_per_user = 3;
    let test = test_identity_with(few).await;
    test.register("ada").await;
    let mut sessions = Vec::new();
    // The registration has begun a session too.
    for _ in 0..3 {
        test.clock.advance(MINUTE);
        sessions.push(test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens);
    }
    test.clock.advance(MINUTE);
    test.identity.sign_in.refresh(sessions[0].refresh.expose(), &caller()).await.expect("refreshed");
    test.clock.advance(MINUTE);
    let newest = test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    for (access, is_live) in
        [(&sessions[0].access, true), (&sessions[1].access, false), (&sessions[2].access, true), (&newest.access, true)]
    {
        assert_eq!(test.session(access).await.is_some(), is_live);
    }
    let ended = test.identity.sign_in.refresh(sessions[1].refresh.expose(), &caller()).await;
    assert!(matches!(ended, Err(IdentityError::InvalidRefreshToken)), "{ended:?}");
    let session = test.session(&newest.access).await.expect("live");
    assert_eq!(test.identity.sessions.list(&session).await.expect("listed").len(), 3);
}

#[tokio::test]
async fn the_first_refresh_counts_as_a_sign_in() {
    let test = test_identity().await;
    let registered = test.register("ada").await;
    assert_eq!(registered.user.last_login_at, None);
    let tokens = registered.tokens.expect("signed in");
    test.identity.sign_in.refresh(tokens.refresh.expose(), &caller()).await.expect("refreshed");
    let ada = test.store.user_by_id(registered.user.id).await.expect("reads").expect("exists");
    assert_eq!(ada.last_login_at, Some(registered.user.created_at));
    test.clock.advance(Duration::from_secs(100 * 86_400));
    assert_eq!(test.store.prune_unconfirmed_users(test.clock.now(), 10).await.expect("deletes"), 0);
}

#[tokio::test]
async fn sr_58_a_stranger_does_not_spoil_the_owners_link() {
    let test = test_identity().await;
    test.register("ada").await;
    test.mails().await;
    request_reset(&test).await;
    let owners = test.mailed_token("reset_password").await;
    for _ in 0..8 {
        test.clock.advance(MINUTE);
        request_reset(&test).await;
        test.mails().await;
    }
    reset(&test, &owners, "a quite different secret").await.expect("the first link is good");
}

#[tokio::test]
async fn sr_58_whoever_asks_the_owner_has_a_good_link() {
    let test = test_identity().await;
    test.register("ada").await;
    let (mut last, mut sent) = (None, 0);
    test.mails().await;
    for _ in 0..120 {
        request_reset(&test).await;
        let (mails, token) = test.mails().await;
        sent += mails.len();
        last = token.or(last);
        test.clock.advance(MINUTE);
    }
    assert!(sent <= 3 * 4, "{sent} mails in two hours");
    // A stranger has used up the allowance: the owner gets no new mail, and the last one is good.
    request_reset(&test).await;
    let (_, newer) = test.mails().await;
    let link = newer.or(last).expect("a mail was sent");
    reset(&test, &link, "a quite different secret").await.expect("a link in the mailbox is good");
}

#[tokio::test]
async fn sr_58_older_verification_links_stay_good() {
    let test = test_identity().await;
    test.register("ada").await;
    let first = test.mailed_token("verify_email").await;
    for _ in 0..8 {
        test.identity.registration.resend_verification("ada@example.com", &caller()).await.expect("asked");
        test.mails().await;
    }
    test.identity.registration.verify_email(&first, &caller()).await.expect("the first link is good");
}

#[tokio::test]
async fn sr_52_a_client_adds_few_rows_of_failed_sign_ins() {
    let test = test_identity().await;
    let mut compared = 0;
    for n in 0..120 {
        let guess = test.login_at(&format!("user{n}@example.com"), "a guess", "203.0.113.9").await;
        compared += u64::from(matches!(guess, Err(IdentityError::InvalidCredentials)));
    }
    assert!((50..60).contains(&compared), "{compared} guesses were compared");
    let later = test.clock.now() + Duration::from_secs(86_400);
    let rows = test.store.prune(Prunable::SignInAttempts, later, 1_000).await.expect("deletes");
    assert_eq!(rows, 2 * compared + 1, "an account and a pair for each, and the client");
}

fn hiding() -> RegistrationOptions {
    RegistrationOptions { mode: RegistrationMode::Open, require_verified_email: false, reveal_existing: false }
}

#[tokio::test]
async fn sr_58_registering_a_known_address_again_mails_once_a_day() {
    let test = test_identity().await;
    let hiding = test.identity_with(portcullis_identity::IdentityOptions { registration: hiding(), ..options() }).await;
    test.register("ada").await;
    test.mails().await;
    for n in 0..5 {
        let form = portcullis_identity::RegisterInput { username: format!("other{n}"), ..registration_form("ada") };
        let outcome = hiding.registration.register(form, &caller()).await.expect("received");
        assert!(matches!(outcome, RegisterOutcome::Received));
    }
    assert_eq!(test.mails().await.0, ["already_registered"]);
}

#[tokio::test]
async fn sr_10_a_taken_username_tells_nothing_about_the_address() {
    let test = test_identity().await;
    let hiding = test.identity_with(portcullis_identity::IdentityOptions { registration: hiding(), ..options() }).await;
    test.register("ada").await;
    test.register("ben").await;
    test.mails().await;
    for email in ["ada@example.com", "ben@example.com", "nobody@example.com"] {
        let form = portcullis_identity::RegisterInput { email: email.to_owned(), ..registration_form("ada") };
        let before = test.metrics.database_statements();
        let result = hiding.registration.register(form, &caller()).await;
        assert!(matches!(result, Err(IdentityError::UsernameTaken)), "{email}: {result:?}");
        assert_eq!(test.metrics.database_statements() - before, 2, "{email}");
    }
    assert!(test.mails().await.0.is_empty(), "the response says it all");
}

/// A mail server that quotes the mail's link when it refuses the mail.
struct QuotingServer {
    quote: fn(&str) -> String,
    link: Mutex<Option<String>>,
}

impl MailSender for QuotingServer {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'_, Result<(), MailError>> {
        let reason = (self.quote)(mail.link.expose());
        *self.link.lock().expect("sound") = Some(mail.link.expose().to_owned());
        Box::pin(async move { Err(MailError::Temporary(reason)) })
    }
}

#[tokio::test]
async fn sr_47_a_refusal_that_quotes_a_link_is_stored_without() {
    let quotes: [fn(&str) -> String; 3] = [
        |link| format!("451 spam: {link} is listed"),
        |link| format!("451 {}", link.split_once('#').map_or(link, |(_, token)| token)),
        |link| link.as_bytes().chunks(6).map(|part| format!("{}=\r\n", String::from_utf8_lossy(part))).collect(),
    ];
    for quote in quotes {
        let test = test_identity().await;
        test.register("ada").await;
        test.mails().await;
        request_reset(&test).await;
        let server = QuotingServer { quote, link: Mutex::default() };
        test.identity.mailer.send_due(&server).await.expect("tried");
        let stored = String::from_utf8_lossy(&test.stored()).into_owned();
        assert!(stored.contains("451") || stored.contains("quotes"), "the reason was not stored");
        let link = server.link.into_inner().expect("sound").expect("a link was quoted");
        let token = link.split_once('#').map_or("", |(_, token)| token);
        for part in token.as_bytes().chunks(6).filter(|part| part.len() == 6) {
            let part = String::from_utf8_lossy(part);
            assert!(!stored.contains(&*part), "{part} of the link is in the database");
        }
    }
}

/// Keeps what was sent, as a mail program would show it.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl MailSender for Kept {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'_, Result<(), MailError>> {
        self.0.lock().expect("sound").push(format!("{mail:?}"));
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn sr_58_no_text_of_a_stranger_stands_in_a_mail() {
    let test = test_identity().await;
    let form = portcullis_identity::RegisterInput {
        first_name: "Your prize waits at evil.example".to_owned(),
        ..registration_form("ada")
    };
    test.identity.registration.register(form, &caller()).await.expect("registered");
    let kept = Kept::default();
    test.identity.mailer.send_due(&kept).await.expect("sent");
    let mails = kept.0.into_inner().expect("sound");
    assert_eq!(mails.len(), 1);
    assert!(!mails[0].contains("prize"), "{}", mails[0]);
}

#[tokio::test]
async fn sr_58_changing_passwords_all_day_sends_a_few_mails() {
    let test = test_identity().await;
    let ada = test.register("ada").await.user.id;
    test.mails().await;
    for is_verified in [false, true] {
        if is_verified {
            test.confirm(ada).await;
        }
        let mut tx = test.store.begin().await.expect("tx");
        for kind in [MailKind::ApiKeyCreated, MailKind::PasswordChanged] {
            for _ in 0..200 {
                tx.enqueue_mail(kind, ada, test.clock.now()).await.expect("runs");
            }
        }
        tx.commit().await.expect("committed");
        assert_eq!(test.mails().await.0.len(), if is_verified { 10 } else { 0 });
    }
}

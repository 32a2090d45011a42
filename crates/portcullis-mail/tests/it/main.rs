//! Mails over a real server, which accepts, defers or refuses them, or closes the connection.

mod diagnosis;

use std::path::PathBuf;
use std::time::Duration;

use portcullis_mail::{SmtpOptions, SmtpSender, SmtpUrl, parse_from};
use portcullis_model::mail::{MailError, MailKind, MailSender, OutgoingMail};
use portcullis_model::{Clock, Email, Random, SecretString};
use portcullis_testkit::{PrivateSmtp, free_port};

const USER: &str = "ada:only-for-tests";

fn sender(url: &str, authorities: Option<PathBuf>) -> SmtpSender {
    SmtpSender::new(SmtpOptions {
        url: SmtpUrl::parse(url).expect("valid"),
        from: parse_from("Gate <gate@example.com>").expect("valid"),
        service: "gate.example".to_owned(),
        authorities,
        timeout: Duration::from_secs(2),
    })
    .expect("can be set up")
}

fn mail(to: &str) -> OutgoingMail {
    let clock = Clock::system();
    OutgoingMail {
        id: portcullis_model::ids::new_uuid(&clock, &Random::system()),
        created_at: clock.now(),
        to: Email::parse(to).expect("valid"),
        kind: MailKind::ResetPassword,
        link: SecretString::new("https://gate.example/reset-password#the-token"),
        works_for: Some("30 minutes"),
    }
}

/// A mail without the soft line breaks of quoted-printable.
fn plain(mail: &str) -> String {
    mail.replace("=\r\n", "").replace("=3D", "=")
}

#[tokio::test]
async fn a_mail_arrives_with_both_texts() {
    let server = PrivateSmtp::start();
    let sender = sender(&format!("smtp://127.0.0.1:{}", server.port()), None);
    let first = mail("ada@example.com");
    let id = first.id;
    sender.send(first).await.expect("taken");
    sender.send(OutgoingMail { id, ..mail("zoë@bücher.example") }).await.expect("taken");
    let mails: Vec<String> = server.mails().iter().map(|mail| plain(mail)).collect();
    assert_eq!(mails.len(), 2);
    let ada = &mails[0];
    for part in [
        "X-Test-To: ada@example.com",
        "From: Gate <gate@example.com>",
        "Subject: Set a new password for gate.example",
        "Auto-Submitted: auto-generated",
        "text/plain",
        "text/html",
        "https://gate.example/reset-password#the-token",
        "30 minutes",
    ] {
        assert!(ada.contains(part), "{part} in {ada}");
    }
    let message_id = format!("Message-ID: <{id}@gate.example>");
    assert!(mails.iter().all(|mail| mail.contains(&message_id)), "the same at each attempt");
    assert!(mails[1].contains("X-Test-To: zoë@xn--bcher-kva.example"), "{}", mails[1]);
}

#[tokio::test]
async fn starttls_and_tls_encrypt_and_authenticate() {
    let server = PrivateSmtp::start_with_tls();
    for url in [
        format!("smtp+starttls://{USER}@127.0.0.1:{}", server.port()),
        format!("smtps://{USER}@127.0.0.1:{}", server.tls_port()),
    ] {
        sender(&url, Some(server.authority())).send(mail("ada@example.com")).await.expect("taken");
    }
    for mail in server.mails() {
        assert!(mail.contains("X-Test-Secured: True") && mail.contains("X-Test-User: ada"), "{mail}");
    }
    assert_eq!(server.mails().len(), 2);
}

#[tokio::test]
async fn no_mail_is_sent_over_a_weaker_connection() {
    let (plain, secured) = (PrivateSmtp::start(), PrivateSmtp::start_with_tls());
    for (url, authorities) in [
        // The server offers no STARTTLS.
        (format!("smtp+starttls://127.0.0.1:{}", plain.port()), None),
        (format!("smtps://127.0.0.1:{}", plain.port()), None),
        // Its certificate authority is not trusted.
        (format!("smtps://127.0.0.1:{}", secured.tls_port()), None),
        (format!("smtp+starttls://127.0.0.1:{}", secured.port()), None),
        // The certificate is for another name.
        (format!("smtps://localhost:{}", secured.tls_port()), Some(secured.authority())),
    ] {
        let told = sender(&url, authorities).send(mail("ada@example.com")).await.expect_err("not sent");
        assert!(matches!(told, MailError::Temporary(_)), "{url}: {told:?}");
    }
    assert!(plain.mails().is_empty() && secured.mails().is_empty());
}

#[tokio::test]
async fn temporary_failures_differ_from_permanent_ones() {
    let server = PrivateSmtp::start();
    let url = format!("smtp://127.0.0.1:{}", server.port());
    let attempt = async |url: &str| sender(url, None).send(mail("ada@example.com")).await;
    for (behaviour, told) in [("busy", "451"), ("die", ""), ("sleep", "within 2 s")] {
        server.set_behaviour(behaviour);
        let error = attempt(&url).await.expect_err(behaviour);
        assert!(matches!(&error, MailError::Temporary(why) if why.contains(told)), "{behaviour}: {error:?}");
    }
    server.set_behaviour("reject");
    let error = attempt(&url).await.expect_err("refused");
    assert!(matches!(&error, MailError::Permanent(why) if why.contains("550")), "{error:?}");
    server.set_behaviour("take");
    let wrong = attempt(&format!("smtp://ada:wrong@127.0.0.1:{}", server.port())).await.expect_err("not signed in");
    assert!(matches!(&wrong, MailError::Temporary(_)), "an operator can fix a wrong password: {wrong:?}");
    let nobody = attempt(&format!("smtp://127.0.0.1:{}", free_port())).await.expect_err("nobody listens");
    assert!(matches!(nobody, MailError::Temporary(_)), "{nobody:?}");
    assert!(server.mails().is_empty());
    attempt(&url).await.expect("taken at last");
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn an_unusable_file_of_authorities_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authority.pem");
    for text in [None, Some("no certificate")] {
        if let Some(text) = text {
            std::fs::write(&path, text).expect("writable");
        }
        let made = SmtpSender::new(SmtpOptions {
            url: SmtpUrl::parse("smtps://mail.example").expect("valid"),
            from: parse_from("gate@example.com").expect("valid"),
            service: "gate.example".to_owned(),
            authorities: Some(path.clone()),
            timeout: Duration::from_secs(2),
        });
        let told = made.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.contains("authority.pem"), "{text:?}: {told}");
    }
}

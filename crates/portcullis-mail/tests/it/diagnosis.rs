//! What `portcullis doctor` says of a mail server.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_mail::{SmtpOptions, SmtpUrl, diagnose, parse_from};
use portcullis_model::finding::Status;
use portcullis_model::{Clock, Finding};
use portcullis_testkit::{PrivateSmtp, free_port};

async fn findings(url: &str, authorities: Option<PathBuf>) -> Vec<Finding> {
    let options = SmtpOptions {
        url: SmtpUrl::parse(url).expect("valid"),
        from: parse_from("Gate <gate@example.com>").expect("valid"),
        service: "gate.example".to_owned(),
        authorities,
        timeout: Duration::from_secs(10),
    };
    let mut found = Vec::new();
    diagnose(&options, &Clock::system(), &mut found).await;
    for secret in ["only-for-tests", "hunter2", "b25seS1mb3ItdGVzdHM", "aHVudGVyMg"] {
        assert!(!format!("{found:?}").contains(secret), "{secret} in {found:?}");
    }
    found
}

fn of<'a>(found: &'a [Finding], check: &str) -> &'a Finding {
    found.iter().find(|finding| finding.check == check).unwrap_or_else(|| panic!("no {check} in {found:?}"))
}

#[tokio::test]
async fn a_good_server_passes_with_a_transcript() {
    let server = PrivateSmtp::start_with_tls();
    for url in [
        format!("smtp+starttls://ada:only-for-tests@127.0.0.1:{}", server.port()),
        format!("smtps://ada:only-for-tests@127.0.0.1:{}", server.tls_port()),
    ] {
        let found = findings(&url, Some(server.authority())).await;
        for check in ["mail.server", "mail.encryption", "mail.certificate", "mail.login", "mail.sender"] {
            assert_eq!(of(&found, check).status, Status::Pass, "{url}: {found:?}");
        }
        let transcript = of(&found, "mail.server").details.join("\n");
        assert!(transcript.contains("S: 220 ") && transcript.contains("AUTH PLAIN [hidden]"), "{transcript}");
        assert!(transcript.contains("C: MAIL FROM:<gate@example.com>"), "{transcript}");
    }
    assert!(server.mails().is_empty(), "no mail is sent");
}

#[tokio::test]
async fn a_refused_password_fails_with_the_transcript() {
    let server = PrivateSmtp::start_with_tls();
    let url = format!("smtp+starttls://ada:hunter2@127.0.0.1:{}", server.port());
    let found = findings(&url, Some(server.authority())).await;
    let login = of(&found, "mail.login");
    assert_eq!(login.status, Status::Fail);
    assert!(login.found.contains("535"), "{login:?}");
    assert!(login.details.iter().any(|line| line.starts_with("S: 535")), "{login:?}");
}

#[tokio::test]
async fn an_expired_certificate_is_named() {
    let server = PrivateSmtp::start_with_expired_certificate();
    let url = format!("smtps://127.0.0.1:{}", server.tls_port());
    let found = findings(&url, Some(server.authority())).await;
    let certificate = of(&found, "mail.certificate");
    assert_eq!(certificate.status, Status::Fail);
    assert!(certificate.found.contains("certificate expired"), "{certificate:?}");
}

#[tokio::test]
async fn a_server_without_starttls_and_none_at_all_fail() {
    let server = PrivateSmtp::start();
    let found = findings(&format!("smtp+starttls://127.0.0.1:{}", server.port()), None).await;
    assert!(of(&found, "mail.encryption").found.contains("does not offer STARTTLS"), "{found:?}");
    let gone = findings(&format!("smtp://127.0.0.1:{}", free_port()), None).await;
    assert!(of(&gone, "mail.server").found.contains("cannot be reached"), "{gone:?}");
}

//! The mail server's part of `portcullis doctor`. It signs in as the gateway does, and sends no mail.

use std::io;
use std::sync::Arc;

use portcullis_model::{Clock, Finding};
use portcullis_tls::CertificateExpiry;
use rustls::ClientConfig;

use crate::conversation::{Conversation, Reply};
use crate::smtp::{SmtpOptions, hello};
use crate::url::{Security, SmtpUrl};

const SERVER: &str = "mail.server";
const ENCRYPTION: &str = "mail.encryption";
const CERTIFICATE: &str = "mail.certificate";
const LOGIN: &str = "mail.login";
const SENDER: &str = "mail.sender";

/// Connects to the mail server, encrypts, signs in, and asks whether it takes mails from our sender.
pub async fn diagnose(options: &SmtpOptions, clock: &Clock, found: &mut Vec<Finding>) {
    let tls = match portcullis_tls::watching_client_config(options.authorities.as_deref()) {
        Ok(tls) => tls,
        Err(error) => {
            let hint = "mail.authorities names a file of certificates in PEM".to_owned();
            return found.push(Finding::error(CERTIFICATE, &error, Some(hint)));
        }
    };
    let SmtpUrl { host, port, credentials, .. } = &options.url;
    let signs_in = credentials.as_ref().map(|(user, password)| (user.as_str(), password.expose()));
    let connecting = tokio::time::timeout(options.timeout, Conversation::connect(host, *port, signs_in)).await;
    let mut conversation = match connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(conversation) => conversation,
        Err(error) => return found.push(unreachable(&options.url, &error)),
    };
    let already = found.len();
    let talking = talk(options, tls, clock, &mut conversation, found);
    let outcome =
        tokio::time::timeout(options.timeout, talking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if let Err(error) = outcome {
        found.push(broken_off(&options.url, &error));
    }
    // The transcript stands with what went wrong, else with the server.
    let transcript = conversation.into_transcript();
    let reported = &mut found[already..];
    let wrong = reported.iter().position(|finding| finding.hint.is_some()).unwrap_or(0);
    if let Some(finding) = reported.get_mut(wrong) {
        finding.details = transcript;
    }
}

async fn talk(
    options: &SmtpOptions,
    (tls, expiry): (ClientConfig, Arc<CertificateExpiry>),
    clock: &Clock,
    conversation: &mut Conversation,
    found: &mut Vec<Finding>,
) -> io::Result<()> {
    let SmtpUrl { security, host, credentials, .. } = &options.url;
    let mut version = None;
    if *security == Security::Tls {
        match conversation.encrypt(host, tls.clone()).await {
            Ok(negotiated) => version = Some(negotiated),
            Err(error) => return handshake_failed(&options.url, &error, found),
        }
    }
    let greeting = conversation.reply().await?;
    if !greeting.is_positive() {
        found.push(refused(
            SERVER,
            "the server refuses the connection",
            &greeting,
            "ask its operator why, or name another server in SMTP_URL",
        ));
        return Ok(());
    }
    let ehlo = format!("EHLO {}", hello(&options.service));
    let mut offers = conversation.command(&ehlo, &ehlo).await?;
    found.push(Finding::pass(SERVER, format!("{} answers: {}", options.url, greeting.text())));
    if *security == Security::StartTls {
        if !offers.offers("STARTTLS") {
            found.push(Finding::fail(
                ENCRYPTION,
                "the server does not offer STARTTLS, so no mail is sent",
                "use smtps:// (port 465), or smtp:// for a server in a private network",
            ));
            return Ok(());
        }
        let ready = conversation.command("STARTTLS", "STARTTLS").await?;
        if !ready.is_positive() {
            found.push(refused(ENCRYPTION, "the server refuses STARTTLS", &ready, "mend TLS on the mail server"));
            return Ok(());
        }
        match conversation.encrypt(host, tls).await {
            Ok(negotiated) => version = Some(negotiated),
            Err(error) => return handshake_failed(&options.url, &error, found),
        }
        offers = conversation.command(&ehlo, &ehlo).await?;
    }
    found.push(judge_encryption(&options.url, version.as_deref()));
    found.extend(expiry.finding(CERTIFICATE, clock.now()));
    if let Some((user, password)) = credentials {
        let mechanisms = offers.extension("AUTH").unwrap_or_default().to_owned();
        let reply = conversation.authenticate(&mechanisms, user, password.expose()).await?;
        let finding = judge_login(reply.as_ref());
        let signed_in = finding.hint.is_none();
        found.push(finding);
        if !signed_in {
            return Ok(());
        }
    }
    let mail_from = format!("MAIL FROM:<{}>", options.from.email);
    let reply = conversation.command(&mail_from, &mail_from).await?;
    found.push(match reply.is_positive() {
        true => Finding::pass(SENDER, format!("the server takes mails from {}", options.from.email)),
        false => refused(
            SENDER,
            "the server refuses our sender",
            &reply,
            "set MAIL_FROM to an address that this user may send from",
        ),
    });
    conversation.command("RSET", "RSET").await?;
    conversation.command("QUIT", "QUIT").await?;
    Ok(())
}

fn judge_encryption(url: &SmtpUrl, version: Option<&str>) -> Finding {
    match version {
        Some(version) => Finding::pass(ENCRYPTION, format!("encrypted by {version}")),
        None if url.sends_password_in_clear() => Finding::fail(
            ENCRYPTION,
            "the password of the mail server is sent without encryption",
            "use smtp+starttls:// or smtps://",
        ),
        None if url.is_local() => Finding::pass(ENCRYPTION, "not encrypted; the server is on this machine"),
        None => Finding::warn(
            ENCRYPTION,
            "mails are sent without encryption, with the links in them",
            "use smtp+starttls:// or smtps://",
        ),
    }
}

fn judge_login(reply: Option<&Reply>) -> Finding {
    match reply {
        None => Finding::fail(
            LOGIN,
            "the server offers no way to sign in that the gateway knows (PLAIN, LOGIN)",
            "remove user and password from SMTP_URL, or use the server's port for submission (587, 465)",
        ),
        Some(reply) if reply.is_positive() => Finding::pass(LOGIN, "the server accepts user and password"),
        Some(reply) => {
            refused(LOGIN, "the server refuses user or password", reply, "correct user and password in SMTP_URL")
        }
    }
}

fn refused(check: &str, what: &str, reply: &Reply, hint: &str) -> Finding {
    Finding::fail(check, format!("{what}: {}", reply.text()), hint)
}

fn handshake_failed(url: &SmtpUrl, error: &io::Error, found: &mut Vec<Finding>) -> io::Result<()> {
    let hint = "the server needs a certificate that is valid now and for this host; mail.authorities names a private authority";
    found.push(Finding::fail(CERTIFICATE, format!("no encrypted connection to {url}: {error}"), hint));
    Ok(())
}

fn unreachable(url: &SmtpUrl, error: &io::Error) -> Finding {
    let hint = "check host and port in SMTP_URL, and whether a firewall lets the gateway out to this port";
    Finding::fail(SERVER, format!("{url} cannot be reached: {error}"), hint)
}

fn broken_off(url: &SmtpUrl, error: &io::Error) -> Finding {
    let hint = "does SMTP_URL begin with what the port speaks? smtps:// for 465, smtp+starttls:// for 587";
    Finding::fail(SERVER, format!("the conversation with {url} broke off: {error}"), hint)
}

//! Sending mails to an SMTP server.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use portcullis_model::InvalidInput;
use portcullis_model::mail::{MailError, MailSender, OutgoingMail};

use crate::templates::texts;
use crate::url::{Security, SmtpUrl};

/// How mails are sent.
#[derive(Clone, Debug)]
pub struct SmtpOptions {
    /// The address of the SMTP server (`SMTP_URL`).
    pub url: SmtpUrl,
    /// The sender of every mail (`MAIL_FROM`).
    pub from: Mailbox,
    /// The name of the service in the mails: its public host.
    pub service: String,
    /// A PEM file with the certificate authorities of the server. `None` uses those of the system.
    pub authorities: Option<PathBuf>,
    /// The longest time for one mail, from connecting to the server's last response.
    pub timeout: Duration,
}

/// The reason why no mail can be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// The file of certificate authorities cannot be used.
    #[error("the certificate authorities in {} (mail.authorities) cannot be read", path.display())]
    Authorities {
        /// The file that `mail.authorities` names.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The TLS library refuses the configuration.
    #[error("TLS to the mail server cannot be set up")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// Reads the sender of mails: an address, or a name with an address in angle brackets.
pub fn parse_from(text: &str) -> Result<Mailbox, InvalidInput> {
    text.parse::<Mailbox>()
        .map_err(|_| InvalidInput("write an address, such as gate@example.com or Acme <gate@example.com>".to_owned()))
}

/// Sends each mail over a connection of its own, so that a failure half-way cannot affect the next mail.
pub struct SmtpSender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    service: String,
    timeout: Duration,
}

impl SmtpSender {
    /// Reads the certificate authorities. It does not connect yet.
    pub fn new(options: SmtpOptions) -> Result<Self, SmtpError> {
        let SmtpOptions { url, from, service, authorities, timeout } = options;
        let tls = match url.security {
            Security::None => Tls::None,
            Security::StartTls => Tls::Required(parameters(&url.host, authorities)?),
            Security::Tls => Tls::Wrapper(parameters(&url.host, authorities)?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&url.host)
            .port(url.port)
            .tls(tls)
            .hello_name(hello(&service))
            .timeout(Some(timeout));
        if let Some((user, password)) = &url.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(Self { transport: builder.build(), from, service, timeout })
    }

    fn message(&self, mail: &OutgoingMail) -> Result<Message, MailError> {
        let permanent = |error: &dyn std::error::Error| MailError::Permanent(error.to_string());
        let address = mail.to.as_str().parse().map_err(|error: lettre::address::AddressError| permanent(&error))?;
        let texts = texts(mail, &self.service);
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, address))
            .subject(texts.subject)
            // The same id at each attempt, so that a mail that arrives twice can be recognised.
            .message_id(Some(format!("<{}@{}>", mail.id, self.service)))
            .date(mail.created_at.into())
            .raw_header(automatic)
            .multipart(
                MultiPart::alternative()
                    .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(texts.text))
                    .singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(texts.html)),
            )
            .map_err(|error| permanent(&error))
    }
}

impl MailSender for SmtpSender {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'_, Result<(), MailError>> {
        async move {
            let message = self.message(&mail)?;
            match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
                Ok(Ok(_response)) => Ok(()),
                Ok(Err(error)) => Err(classify(&error)),
                Err(_elapsed) => Err(MailError::Temporary(format!(
                    "the mail server did not accept the mail within {} s",
                    self.timeout.as_secs()
                ))),
            }
        }
        .boxed()
    }
}

/// Decides whether another attempt makes sense. Only a refusal of the address itself is permanent: refused credentials,
/// policies and full disks can be fixed by an operator.
fn classify(error: &lettre::transport::smtp::Error) -> MailError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    match error.status().map(u16::from) {
        Some(501 | 550 | 551 | 553) => MailError::Permanent(text),
        _ => MailError::Temporary(text),
    }
}

/// The name in our `EHLO` (RFC 5321 §4.1.1.1).
pub(crate) fn hello(service: &str) -> ClientId {
    match service.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) => ClientId::Ipv4(v4),
        Ok(std::net::IpAddr::V6(v6)) => ClientId::Ipv6(v6),
        Err(_) => ClientId::Domain(service.to_owned()),
    }
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

fn parameters(host: &str, authorities: Option<PathBuf>) -> Result<TlsParameters, SmtpError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = authorities {
        let failed = |source| SmtpError::Authorities { path: path.clone(), source };
        let pem = std::fs::read(&path).map_err(|error| failed(error.into()))?;
        // The library reads a file without certificates as an empty list.
        if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Err(failed("the file has no certificate in PEM".into()));
        }
        let certificate = Certificate::from_pem(&pem).map_err(|error| failed(error.into()))?;
        builder = builder
            .certificate_store(lettre::transport::smtp::client::CertificateStore::None)
            .add_root_certificate(certificate);
    }
    builder.build().map_err(SmtpError::Tls)
}

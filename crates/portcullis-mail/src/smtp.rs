//! Handing mails to a server.

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

/// How mails are handed over.
#[derive(Clone, Debug)]
pub struct SmtpOptions {
    /// The server.
    pub url: SmtpUrl,
    /// Whom they are from.
    pub from: Mailbox,
    /// What the service is called in them: its public host.
    pub service: String,
    /// The authorities that vouch for the server, as PEM; the system's when absent.
    pub authorities: Option<PathBuf>,
    /// How long one mail may take, from connecting to the server's last word.
    pub timeout: Duration,
}

/// Why mails cannot be handed over at all.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// The authorities.
    #[error("the authorities of mail.authorities cannot be read from {}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS.
    #[error("TLS to the mail server cannot be set up")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// Reads whom mails are from: an address, or a name with one in angle brackets.
pub fn parse_from(text: &str) -> Result<Mailbox, InvalidInput> {
    text.parse::<Mailbox>()
        .map_err(|_| InvalidInput("write an address, as in gate@example.com or Acme <gate@example.com>".to_owned()))
}

/// Sends each mail over a connection of its own: after a failure half-way nothing of it is left in a pool.
pub struct SmtpSender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    service: String,
    timeout: Duration,
}

impl SmtpSender {
    /// Connects to nothing yet.
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
        let never = |error: &dyn std::error::Error| MailError::Permanent(error.to_string());
        let address = mail.to.as_str().parse().map_err(|error: lettre::address::AddressError| never(&error))?;
        let texts = texts(mail, &self.service);
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(Some(mail.name.as_str().to_owned()), address))
            .subject(texts.subject)
            // The same at each attempt, so that a mail that arrives twice can be told to be one.
            .message_id(Some(format!("<{}@{}>", mail.id, self.service)))
            .date(mail.created_at.into())
            .raw_header(automatic)
            .multipart(
                MultiPart::alternative()
                    .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(texts.text))
                    .singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(texts.html)),
            )
            .map_err(|error| never(&error))
    }
}

impl MailSender for SmtpSender {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'_, Result<(), MailError>> {
        async move {
            let message = self.message(&mail)?;
            match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
                Ok(Ok(_taken)) => Ok(()),
                Ok(Err(error)) => Err(judge(&error)),
                Err(_elapsed) => Err(MailError::Temporary(format!(
                    "the mail server did not take it within {} s",
                    self.timeout.as_secs()
                ))),
            }
        }
        .boxed()
    }
}

/// Whether another attempt makes sense. Only what a server says of the address itself is final: refused credentials,
/// policies and full disks are mended by somebody.
fn judge(error: &lettre::transport::smtp::Error) -> MailError {
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        source = cause.source();
    }
    match error.status().map(u16::from) {
        Some(501 | 550 | 551 | 553) => MailError::Permanent(told),
        _ => MailError::Temporary(told),
    }
}

/// How we introduce ourselves (RFC 5321 §4.1.1.1).
fn hello(service: &str) -> ClientId {
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
        // What holds no certificate would be taken for a list of none.
        if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Err(failed("there is no certificate in it".into()));
        }
        let certificate = Certificate::from_pem(&pem).map_err(|error| failed(error.into()))?;
        builder = builder
            .certificate_store(lettre::transport::smtp::client::CertificateStore::None)
            .add_root_certificate(certificate);
    }
    builder.build().map_err(SmtpError::Tls)
}

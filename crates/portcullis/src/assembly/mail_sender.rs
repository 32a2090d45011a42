//! Sends mails over SMTP. In development without a mail server it prints their links.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use portcullis_mail::{SmtpError, SmtpOptions, SmtpSender};
use portcullis_model::mail::{MailError, MailSender, OutgoingMail};
use portcullis_model::policy::Environment;

use portcullis_settings::{Mail, Settings};

/// How long one mail may take: well below the time for which a claimed mail is hidden from other replicas.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the sender that the settings ask for; `None` if mails stay in the outbox until a mail server is configured.
pub(super) fn from_settings(settings: &Settings) -> Result<Option<Arc<dyn MailSender>>, SmtpError> {
    let Some(mail) = settings.mail.clone() else {
        let prints = settings.environment == Environment::Development;
        return Ok(prints.then(|| Arc::new(LinkPrinter) as Arc<dyn MailSender>));
    };
    Ok(Some(Arc::new(SmtpSender::new(smtp_options(settings, mail))?)))
}

/// Returns how mails are sent with these settings.
pub(crate) fn smtp_options(settings: &Settings, mail: Mail) -> SmtpOptions {
    let base = settings.base_url();
    let host = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
    let host = host.strip_prefix('[').and_then(|rest| rest.split(']').next()).or_else(|| host.split([':', '/']).next());
    SmtpOptions {
        url: mail.url,
        from: mail.from,
        service: host.unwrap_or("localhost").to_owned(),
        authorities: mail.authorities,
        timeout: TIMEOUT,
    }
}

/// Prints each mail's link to standard output, in development only (`docs/contract.md`, "Settings and environment").
/// Nothing else may write a link to a log.
struct LinkPrinter;

impl MailSender for LinkPrinter {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'_, Result<(), MailError>> {
        Box::pin(async move {
            let line = format!("mail to {} ({}): {}\n", mail.to, mail.kind.as_str(), mail.link.expose());
            std::io::stdout().lock().write_all(line.as_bytes()).map_err(|error| MailError::Temporary(error.to_string()))
        })
    }
}

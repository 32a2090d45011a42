//! How mails leave: over SMTP, or in development, where there may be no mail server, printed.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use portcullis_mail::{SmtpError, SmtpOptions, SmtpSender};
use portcullis_model::mail::{MailError, MailSender, OutgoingMail};
use portcullis_model::policy::Environment;

use portcullis_settings::Settings;

/// How long one mail may take: well under the claim that hides it from other replicas.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What carries mails away; `None` when they wait for a server to be configured.
pub(super) fn sender(settings: &Settings) -> Result<Option<Arc<dyn MailSender>>, SmtpError> {
    let Some(mail) = settings.mail.clone() else {
        let prints = settings.environment == Environment::Development;
        return Ok(prints.then(|| Arc::new(Printer) as Arc<dyn MailSender>));
    };
    let base = settings.base_url();
    let host = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
    let host = host.strip_prefix('[').and_then(|rest| rest.split(']').next()).or_else(|| host.split([':', '/']).next());
    let options = SmtpOptions {
        url: mail.url,
        from: mail.from,
        service: host.unwrap_or("localhost").to_owned(),
        authorities: mail.authorities,
        timeout: TIMEOUT,
    };
    Ok(Some(Arc::new(SmtpSender::new(options)?)))
}

/// Prints each mail's link to standard output. The only place where a link may
/// be written to a log, and only in development (contract §8).
struct Printer;

impl MailSender for Printer {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'_, Result<(), MailError>> {
        Box::pin(async move {
            let line = format!("mail to {} ({}): {}\n", mail.to, mail.kind.as_str(), mail.link.expose());
            std::io::stdout().lock().write_all(line.as_bytes()).map_err(|error| MailError::Temporary(error.to_string()))
        })
    }
}

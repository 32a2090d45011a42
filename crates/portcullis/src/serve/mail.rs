//! Mails in development, where there is no mail server: printed.

use std::io::Write as _;

use futures_util::future::BoxFuture;
use portcullis_identity::{MailSender, OutgoingMail};

/// Prints each mail's link to standard output. The only place where a link may
/// be written to a log, and only in development (contract §8).
pub(super) struct Printer;

impl MailSender for Printer {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let line = format!("mail to {} ({}): {}\n", mail.to, mail.template, mail.link.expose());
            std::io::stdout().lock().write_all(line.as_bytes()).map_err(|error| error.to_string())
        })
    }
}

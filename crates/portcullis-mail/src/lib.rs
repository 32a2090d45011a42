//! Mails: their texts, and sending them over SMTP (RFC 5321). This crate knows neither users nor the outbox: it gets a mail
//! and says whether it was sent, may be sent later, or never will be.

mod conversation;
mod diagnosis;
mod smtp;
mod templates;
mod url;

pub use diagnosis::diagnose;
pub use lettre::message::Mailbox;
pub use smtp::{SmtpError, SmtpOptions, SmtpSender, parse_from};
pub use url::{Security, SmtpUrl};

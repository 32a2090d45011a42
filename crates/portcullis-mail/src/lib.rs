//! Mails: their texts, and how they leave over SMTP (RFC 5321). Knows neither accounts nor the outbox: it is given a
//! mail and says whether it left, may leave later, or never will.

mod smtp;
mod templates;
mod url;

pub use lettre::message::Mailbox;
pub use smtp::{SmtpError, SmtpOptions, SmtpSender, parse_from};
pub use url::{Security, SmtpUrl};

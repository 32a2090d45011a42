//! `[mail]`: the server that sends mails.

use std::path::PathBuf;

use portcullis_mail::{Mailbox, SmtpUrl, parse_from};
use portcullis_model::policy::Environment;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

/// The section `[mail]`, if a server is set.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The address of the mail server.
    pub url: SmtpUrl,
    /// The sender of all mails.
    pub from: Mailbox,
    /// The PEM file of the authorities that may sign the certificate of the server; `None` for those of the system.
    pub authorities: Option<PathBuf>,
}

static URL: Key = Key::restart(
    "url",
    DefaultValue::Described("none: development prints mails, elsewhere they wait"),
    "URL",
    "`smtps://user:password@host:465`, `smtp+starttls://…:587`, or `smtp://host:25` without TLS.",
)
.environment(&["SMTP_URL"])
.secret();
static FROM: Key = Key::restart(
    "from",
    DefaultValue::Described("none; `url` needs it"),
    "address",
    "The sender of all mails: `gate@example.com`, or `Acme <gate@example.com>`.",
)
.environment(&["MAIL_FROM"]);
static AUTHORITIES: Key = Key::restart(
    "authorities",
    DefaultValue::Described("the system's authorities"),
    "path",
    "The PEM file of the authority that may sign the certificate of the mail server.",
);

pub(crate) static SECTION: Section = Section {
    name: "mail",
    about: "The server that sends mails, see [identity.md](identity.md#mail).",
    keys: &[&URL, &FROM, &AUTHORITIES],
};

pub(crate) fn read(
    tree: &Table,
    environment: Environment,
    problems: &mut Problems,
    warnings: &mut Vec<Notice>,
) -> Option<Mail> {
    let mut section = Reader::open(tree, &SECTION, problems);
    let url = section.optional(&URL, SmtpUrl::parse);
    let from = section.optional(&FROM, parse_from);
    let authorities = section.optional(&AUTHORITIES, |text| Ok(PathBuf::from(text)));
    if section.node(&URL).is_none() {
        if environment == Environment::Production {
            let message = "SMTP_URL is not set: mails wait in the database, and users cannot reset a password";
            warnings.push(Notice::new(&Place::Nowhere, message).hint("set SMTP_URL and MAIL_FROM"));
        }
        return None;
    }
    if section.node(&FROM).is_none() {
        let notice = Notice::new(&section.place_of(&URL), "MAIL_FROM is not set: mails have no sender");
        section.problems.add(notice.hint("set MAIL_FROM to an address that the mail server lets you send from"));
    }
    if url.as_ref().is_some_and(SmtpUrl::sends_password_in_clear) {
        let notice = Notice::new(&section.place_of(&URL), "the password of the mail server is sent without encryption");
        warnings.push(notice.hint("use smtp+starttls:// or smtps://"));
    }
    Some(Mail { url: url?, from: from?, authorities })
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    #[test]
    fn a_server_needs_a_sender_and_both_are_read() {
        assert!(settings("", &[]).mail.is_none());
        let mail =
            settings("", &[("SMTP_URL", "smtps://a:hunter2@mail.example"), ("MAIL_FROM", "Gate <gate@example.com>")])
                .mail;
        let mail = mail.expect("there is a server");
        assert_eq!(
            (mail.url.to_string().as_str(), mail.from.to_string().as_str()),
            ("smtps://mail.example:465", "Gate <gate@example.com>")
        );
        assert!(refused("", &[("SMTP_URL", "smtp://mail.example")]).contains("MAIL_FROM is not set"));
        let message = refused("", &[("SMTP_URL", "http://a:hunter2@mail.example"), ("MAIL_FROM", "nobody")]);
        assert!(
            message.contains("write smtps://") && message.contains("write an address") && !message.contains("hunter2"),
            "{message}"
        );
    }

    #[test]
    fn a_password_in_clear_or_no_server_gets_a_warning() {
        let message = |variables: &[(&str, &str)]| {
            settings("", variables).warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let clear = message(&[("SMTP_URL", "smtp://a:hunter2@mail.example"), ("MAIL_FROM", "gate@example.com")]);
        assert!(clear.contains("without encryption") && !clear.contains("hunter2"), "{clear}");
        let secret = "fF3x-9QmZ_27hTqLw8RkVb5NcYd1GsPjAe";
        let production = [
            ("PORTCULLIS_ENV", "production"),
            ("CSRF_SECRET", secret),
            ("ENCRYPTION_KEY", "another one: pW4z8Lq2Vn6Xc0Tb9Ry3Kd7"),
            ("PUBLIC_URL", "https://gate.example.com"),
        ];
        assert!(message(&production).contains("SMTP_URL is not set"), "{}", message(&production));
    }
}

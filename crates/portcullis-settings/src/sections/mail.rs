//! `[mail]`: how mails leave.

use std::path::PathBuf;

use portcullis_mail::{Mailbox, SmtpUrl, parse_from};
use portcullis_model::policy::Environment;

use crate::engine::key::{Key, Preset, Section};
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

/// `[mail]`, when there is a server.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The server.
    pub url: SmtpUrl,
    /// Whom mails are from.
    pub from: Mailbox,
    /// The authorities that vouch for the server, as PEM; the system's when absent.
    pub authorities: Option<PathBuf>,
}

static URL: Key = Key::new(
    "url",
    Preset::Otherwise("none: in development mails are printed, elsewhere they wait"),
    "URL",
    "`smtps://user:password@host:465`, `smtp+starttls://…:587`, or `smtp://host:25` without TLS.",
)
.environment(&["SMTP_URL"])
.secret();
static FROM: Key = Key::new(
    "from",
    Preset::Otherwise("none; needed beside `url`"),
    "address",
    "Whom mails are from: `gate@example.com`, or `Acme <gate@example.com>`.",
)
.environment(&["MAIL_FROM"]);
static AUTHORITIES: Key = Key::new(
    "authorities",
    Preset::Otherwise("the system's authorities"),
    "path",
    "The authority that vouches for the mail server, as PEM.",
);

pub(crate) static SECTION: Section = Section { name: "mail", keys: &[&URL, &FROM, &AUTHORITIES] };

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
            let message = "SMTP_URL is not set: mails wait in the database, and nobody can reset a password";
            warnings.push(Notice::new(&Place::Nowhere, message).hint("set SMTP_URL and MAIL_FROM"));
        }
        return None;
    }
    if section.node(&FROM).is_none() {
        let notice = Notice::new(&section.place_of(&URL), "mails have no sender: MAIL_FROM is not set");
        section.problems.add(notice.hint("set MAIL_FROM to an address that the mail server lets you send from"));
    }
    if url.as_ref().is_some_and(SmtpUrl::sends_password_in_clear) {
        let notice = Notice::new(&section.place_of(&URL), "the mail server's password goes over the network in clear");
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
        let said = refused("", &[("SMTP_URL", "http://a:hunter2@mail.example"), ("MAIL_FROM", "nobody")]);
        assert!(
            said.contains("write smtps://") && said.contains("write an address") && !said.contains("hunter2"),
            "{said}"
        );
    }

    #[test]
    fn what_endangers_or_stops_mails_is_warned_of() {
        let said = |variables: &[(&str, &str)]| {
            settings("", variables).warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let clear = said(&[("SMTP_URL", "smtp://a:hunter2@mail.example"), ("MAIL_FROM", "gate@example.com")]);
        assert!(clear.contains("in clear") && !clear.contains("hunter2"), "{clear}");
        let secret = "fF3x-9QmZ_27hTqLw8RkVb5NcYd1GsPjAe";
        let production = [
            ("PORTCULLIS_ENV", "production"),
            ("CSRF_SECRET", secret),
            ("ENCRYPTION_KEY", "another one: pW4z8Lq2Vn6Xc0Tb9Ry3Kd7"),
            ("PUBLIC_URL", "https://gate.example.com"),
        ];
        assert!(said(&production).contains("SMTP_URL is not set"), "{}", said(&production));
    }
}

//! The texts of mails, as plain text and as HTML, from `templates/`.

use askama::Template;
use portcullis_model::mail::{MailKind, OutgoingMail};

/// A mail's subject and its two bodies.
pub(crate) struct Texts {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// The values in the texts.
struct Values<'a> {
    service: &'a str,
    link: &'a str,
    works_for: &'a str,
}

macro_rules! texts {
    ($($kind:ident $text:literal $html:literal $subject:literal),* $(,)?) => {
        pub(crate) fn texts(mail: &OutgoingMail, service: &str) -> Texts {
            let values = Values {
                service,
                link: mail.link.expose(),
                works_for: mail.works_for.unwrap_or_default(),
            };
            match mail.kind {
                $(MailKind::$kind => {
                    #[derive(Template)]
                    #[template(path = $text)]
                    struct Text<'a> { mail: &'a Values<'a> }
                    #[derive(Template)]
                    #[template(path = $html)]
                    struct Html<'a> { mail: &'a Values<'a> }
                    let written = "writing to a String cannot fail";
                    Texts {
                        subject: $subject.replace("{service}", service),
                        text: Text { mail: &values }.render().expect(written),
                        html: Html { mail: &values }.render().expect(written),
                    }
                })*
            }
        }
    };
}

texts!(
    VerifyEmail "verify_email.txt" "verify_email.html" "Confirm your email address for {service}",
    AlreadyRegistered "already_registered.txt" "already_registered.html" "You already have an account at {service}",
    ResetPassword "reset_password.txt" "reset_password.html" "Set a new password for {service}",
    Invitation "invitation.txt" "invitation.html" "You are invited to {service}",
    PasswordChanged "password_changed.txt" "password_changed.html" "Your password for {service} was changed",
    PasswordReset "password_reset.txt" "password_reset.html" "Your password for {service} was reset",
    ApiKeyCreated "api_key_created.txt" "api_key_created.html" "An API key was made for your account at {service}",
);

#[cfg(test)]
mod tests {
    use portcullis_model::{Clock, Email, Random, SecretString};

    use super::*;

    fn mail(kind: MailKind) -> OutgoingMail {
        let clock = Clock::system();
        OutgoingMail {
            id: portcullis_model::ids::new_uuid(&clock, &Random::system()),
            created_at: clock.now(),
            to: Email::parse("ada@example.com").expect("valid"),
            kind,
            link: SecretString::new("https://gate.example/page#token-of-the-link"),
            works_for: Some("half an hour"),
        }
    }

    #[test]
    fn each_mail_has_link_and_lifetime() {
        for kind in MailKind::ALL {
            let Texts { subject, text, html } = texts(&mail(kind), "gate.example");
            assert!(subject.contains("gate.example") && !subject.contains('{'), "{subject}");
            for body in [&text, &html] {
                assert!(body.contains("https://gate.example/page#token-of-the-link"), "{kind:?}: {body}");
                assert!(!body.contains("{{") && !body.contains("{%"), "{kind:?}: {body}");
            }
            let single_use = matches!(kind, MailKind::VerifyEmail | MailKind::ResetPassword | MailKind::Invitation);
            assert_eq!(text.contains("half an hour"), single_use, "{kind:?}");
            assert_eq!(html.contains("half an hour"), single_use, "{kind:?}");
            // No image, script or font is loaded, so that opening a mail is not reported to anybody.
            for outside in ["<img", "<script", "<link", "url(", "src="] {
                assert!(!html.contains(outside), "{kind:?}: {outside}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{kind:?}");
        }
    }
}

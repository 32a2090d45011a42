//! `[demo]`: an account to try the product without registration.

use portcullis_model::policy::Environment;
use portcullis_model::{Email, InvalidInput, SecretString};

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

/// The section `[demo]`, if the account is enabled. In production its sign-in is answered 403.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The e-mail address of the account.
    pub email: Email,
    /// The password of the account.
    pub password: SecretString,
}

static ENABLED: Key = Key::restart(
    "enabled",
    DefaultValue::Text("false"),
    "true or false",
    "Whether the account below can sign in as an administrator. It never can in production.",
)
.environment(&["ENABLE_DEMO_MODE"]);
static EMAIL: Key = Key::restart(
    "email",
    DefaultValue::Described("none; demo mode needs it"),
    "e-mail address",
    "The e-mail address of the account.",
)
.environment(&["DEMO_USER_EMAIL"]);
static PASSWORD: Key = Key::restart(
    "password",
    DefaultValue::Described("none; demo mode needs it"),
    "text",
    "The password of the account.",
)
.environment(&["DEMO_USER_PASSWORD"])
.secret();

pub(crate) static SECTION: Section = Section {
    name: "demo",
    about: "An account to try the product. In production its sign-in is answered 403.",
    keys: &[&ENABLED, &EMAIL, &PASSWORD],
};

pub(crate) fn read(
    tree: &Table,
    environment: Environment,
    problems: &mut Problems,
    warnings: &mut Vec<Notice>,
) -> Option<Demo> {
    let mut section = Reader::open(tree, &SECTION, problems);
    let enabled = section.flag(&ENABLED);
    let email = section.optional(&EMAIL, Email::parse);
    let password = section.optional(&PASSWORD, |text| Ok::<_, InvalidInput>(SecretString::new(text)));
    if !enabled {
        return None;
    }
    for key in [&EMAIL, &PASSWORD] {
        if section.node(key).is_none() {
            let message = format!("{} is missing: demo mode has no default account", key.environment[0]);
            let hint = format!("set {}, or unset ENABLE_DEMO_MODE", key.environment[0]);
            let place = section.place_of(&ENABLED);
            section.problems.add(Notice::new(&place, message).hint(hint));
        }
    }
    if environment == Environment::Production {
        let notice = Notice::new(&section.place_of(&ENABLED), "demo mode is not available in production");
        warnings.push(notice.hint("unset ENABLE_DEMO_MODE: the sign-in of the account is answered 403"));
    }
    Some(Demo { email: email?, password: password? })
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    #[test]
    fn sr_16_demo_mode_is_off_and_has_no_default_account() {
        let pair = [("DEMO_USER_EMAIL", "Demo@example.com"), ("DEMO_USER_PASSWORD", "let me in")];
        assert!(settings("", &pair).demo.is_none());
        let all = [("ENABLE_DEMO_MODE", "true"), pair[0], pair[1]];
        assert_eq!(settings("", &all).demo.expect("enabled").email.as_str(), "demo@example.com");
        let message = refused("", &[("ENABLE_DEMO_MODE", "true")]);
        assert!(
            message.contains("DEMO_USER_EMAIL is missing") && message.contains("DEMO_USER_PASSWORD is missing"),
            "{message}"
        );
        let message = refused("", &[("ENABLE_DEMO_MODE", "yes")]);
        assert!(message.contains("demo.enabled is neither true nor false"), "{message}");
    }
}

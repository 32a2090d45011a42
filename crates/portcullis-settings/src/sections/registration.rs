//! `[registration]`: whether users may register themselves, and what the response reveals.

pub use portcullis_identity::RegistrationMode;
use portcullis_model::policy::Environment;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;
use crate::engine::values::one_of;

/// The section `[registration]`.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    /// The users who may register.
    pub mode: RegistrationMode,
    /// Whether a user must have confirmed the e-mail address to sign in.
    pub require_verified_email: bool,
    /// Whether registration with a known address is answered 409, or like any other.
    pub reveal_existing: bool,
}

static MODE: Key = Key::restart(
    "mode",
    DefaultValue::Text("open"),
    "`open`, `invite` or `closed`",
    "The users who may register: `open` all, `invite` only invited ones, `closed` none (administrators create all users).",
);
static REQUIRE_VERIFIED_EMAIL: Key = Key::restart(
    "require_verified_email",
    DefaultValue::Text("false"),
    "true or false",
    "Whether a user must have confirmed the e-mail address to sign in.",
);
static REVEAL_EXISTING: Key = Key::restart(
    "reveal_existing",
    DefaultValue::Text("true"),
    "true or false",
    "Whether registration with a known address is answered 409, or like any other with 202 and a mail.",
);

pub(crate) static SECTION: Section =
    Section { name: "registration", about: "", keys: &[&MODE, &REQUIRE_VERIFIED_EMAIL, &REVEAL_EXISTING] };

pub(crate) fn read(
    tree: &Table,
    environment: Environment,
    problems: &mut Problems,
    advice: &mut Vec<Notice>,
) -> Registration {
    let mut section = Reader::open(tree, &SECTION, problems);
    let modes =
        [("open", RegistrationMode::Open), ("invite", RegistrationMode::Invite), ("closed", RegistrationMode::Closed)];
    let registration = Registration {
        mode: section.value(&MODE, |text| one_of(text, &modes)),
        require_verified_email: section.flag(&REQUIRE_VERIFIED_EMAIL),
        reveal_existing: section.flag(&REVEAL_EXISTING),
    };
    let reveals = registration.reveal_existing && registration.mode == RegistrationMode::Open;
    if environment == Environment::Production && reveals {
        let message = "registration reveals which e-mail addresses have an account";
        let hint = "set registration.reveal_existing = false, if your front end handles 202";
        advice.push(Notice::new(&section.place_of(&REVEAL_EXISTING), message).hint(hint));
    }
    registration
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PRODUCTION, refused, settings};

    #[test]
    fn the_mode_is_open_invite_or_closed() {
        assert_eq!(settings("[registration]\nmode = \"invite\"\n", &[]).registration.mode, RegistrationMode::Invite);
        let message = refused("[registration]\nmode = \"closd\"\n", &[]);
        assert!(
            message.contains("registration.mode = \"closd\" cannot be used\n  hint: did you mean `closed`?"),
            "{message}"
        );
    }

    #[test]
    fn sr_10_revealing_accounts_in_production_gets_advice() {
        let warned = |file: &str, environment: &[(&str, &str)]| {
            settings(file, environment).advice.iter().any(|notice| notice.message.contains("which e-mail addresses"))
        };
        assert!(warned("", PRODUCTION));
        assert!(!warned("", &[]));
        assert!(!warned("[registration]\nreveal_existing = false\n", PRODUCTION));
        assert!(!warned("[registration]\nmode = \"closed\"\n", PRODUCTION));
    }
}

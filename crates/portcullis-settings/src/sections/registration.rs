//! `[registration]`: who may make an account, and what they learn by trying.

pub use portcullis_identity::RegistrationMode;
use portcullis_model::policy::Environment;

use crate::engine::key::{Key, Preset, Section};
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;
use crate::engine::values::one_of;

/// `[registration]`.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    /// Who may register.
    pub mode: RegistrationMode,
    /// Whether only a confirmed address may sign in.
    pub require_verified_email: bool,
    /// Whether registering with a known address is answered 409, or like any other.
    pub reveal_existing: bool,
}

static MODE: Key = Key::new(
    "mode",
    Preset::Value("open"),
    "`open`, `invite` or `closed`",
    "Who may register: anyone; only whoever was invited; nobody, accounts are made by administrators.",
);
static REQUIRE_VERIFIED_EMAIL: Key = Key::new(
    "require_verified_email",
    Preset::Value("false"),
    "true or false",
    "Whether only a confirmed e-mail address may sign in.",
);
static REVEAL_EXISTING: Key = Key::new(
    "reveal_existing",
    Preset::Value("true"),
    "true or false",
    "Whether registering with a known address is told (409), or answered like any other (202, and a mail).",
);

pub(crate) static SECTION: Section =
    Section { name: "registration", keys: &[&MODE, &REQUIRE_VERIFIED_EMAIL, &REVEAL_EXISTING] };

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
    let tells = registration.reveal_existing && registration.mode == RegistrationMode::Open;
    if environment == Environment::Production && tells {
        let message = "registration tells anybody which e-mail addresses have an account";
        let hint = "set registration.reveal_existing = false, if your front end can answer 202";
        advice.push(Notice::new(&section.place_of(&REVEAL_EXISTING), message).hint(hint));
    }
    registration
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PRODUCTION, refused, settings};

    #[test]
    fn modes_are_three_words() {
        assert_eq!(settings("[registration]\nmode = \"invite\"\n", &[]).registration.mode, RegistrationMode::Invite);
        let said = refused("[registration]\nmode = \"closd\"\n", &[]);
        assert!(
            said.contains("registration.mode = \"closd\" cannot be used\n  hint: did you mean `closed`?"),
            "{said}"
        );
    }

    #[test]
    fn sr_10_revealing_accounts_in_production_is_warned_of() {
        let warned = |file: &str, environment: &[(&str, &str)]| {
            settings(file, environment).advice.iter().any(|notice| notice.message.contains("which e-mail addresses"))
        };
        assert!(warned("", PRODUCTION));
        assert!(!warned("", &[]));
        assert!(!warned("[registration]\nreveal_existing = false\n", PRODUCTION));
        assert!(!warned("[registration]\nmode = \"closed\"\n", PRODUCTION));
    }
}

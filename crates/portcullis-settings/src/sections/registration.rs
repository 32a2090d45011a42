//! `[registration]`: whether users may register themselves, and what the response reveals.

use std::time::Duration;

pub use portcullis_identity::RegistrationMode;
use portcullis_model::InvalidInput;
use portcullis_model::duration::parse_duration;
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
    /// How long users who registered and never confirmed the address nor signed in are kept; `None` for ever.
    pub keep_unconfirmed: Option<Duration>,
}

/// The shortest time that unconfirmed users are kept: a week, longer than a confirmation link is good.
const MIN_KEEP: Duration = Duration::from_secs(7 * 86_400);

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
static KEEP_UNCONFIRMED: Key = Key::restart(
    "keep_unconfirmed",
    DefaultValue::Text("off"),
    "duration of at least 7d, or `off`",
    "How long users are kept who registered themselves and then neither confirmed the e-mail address nor signed in; \
     `off` keeps them for ever. Users whom an administrator invited, changed or disabled are always kept.",
);

pub(crate) static SECTION: Section = Section {
    name: "registration",
    about: "",
    keys: &[&MODE, &REQUIRE_VERIFIED_EMAIL, &REVEAL_EXISTING, &KEEP_UNCONFIRMED],
};

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
        keep_unconfirmed: section.value(&KEEP_UNCONFIRMED, |text| match text {
            "off" => Ok(None),
            text => match parse_duration(text)? {
                kept if kept < MIN_KEEP => Err(InvalidInput("write at least 7d".to_owned())),
                kept => Ok(Some(kept)),
            },
        }),
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
    fn unconfirmed_users_are_kept_for_ever_by_default() {
        assert_eq!(settings("", &[]).registration.keep_unconfirmed, None);
        let kept = settings("[registration]\nkeep_unconfirmed = \"90d\"\n", &[]).registration.keep_unconfirmed;
        assert_eq!(kept, Some(Duration::from_secs(90 * 86_400)));
        assert!(refused("[registration]\nkeep_unconfirmed = \"1d\"\n", &[]).contains("write at least 7d"));
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

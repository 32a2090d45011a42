//! `[csrf]`: which requests need a token.

use portcullis_gate::CsrfMode;
use portcullis_model::policy::Environment;

use crate::engine::key::{Key, Preset, Section};
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;
use crate::engine::values::one_of;

static MODE: Key = Key::new(
    "mode",
    Preset::Value("always"),
    "`always`, `cookie` or `report`",
    "Which unsafe requests need a CSRF token: all, or those that carry the session cookie; `report` refuses none and counts them.",
);

pub(crate) static SECTION: Section = Section { name: "csrf", keys: &[&MODE] };

pub(crate) fn read(
    tree: &Table,
    environment: Environment,
    problems: &mut Problems,
    warnings: &mut Vec<Notice>,
) -> CsrfMode {
    let mut section = Reader::open(tree, &SECTION, problems);
    let modes = [("always", CsrfMode::Always), ("cookie", CsrfMode::Cookie), ("report", CsrfMode::Report)];
    let mode = section.value(&MODE, |text| one_of(text, &modes));
    if mode == CsrfMode::Report && environment == Environment::Production {
        let message = "csrf.mode = \"report\" refuses nothing: other sites can act for who is signed in";
        let hint = "once csrf_reports_total stays as it is, set it to always, or to cookie";
        warnings.push(Notice::new(&section.place_of(&MODE), message).hint(hint));
    }
    mode
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{refused, settings};

    #[test]
    fn csrf_is_always_checked_unless_something_else_is_asked_for() {
        assert_eq!(settings("", &[]).csrf_mode, CsrfMode::Always);
        assert_eq!(settings("", &[("PORTCULLIS__CSRF__MODE", "cookie")]).csrf_mode, CsrfMode::Cookie);
        assert!(refused("[csrf]\nmode = \"off\"\n", &[]).contains("hint: it is always, cookie or report"));
    }

    #[test]
    fn production_that_only_reports_is_warned_of() {
        assert!(settings("[csrf]\nmode = \"report\"\n", &[]).warnings.is_empty());
        let production = [
            ("PORTCULLIS_ENV", "production"),
            ("CSRF_SECRET", "fF3x-9QmZ_27hTqLw8RkVb5NcYd1GsPjAe"),
            ("ENCRYPTION_KEY", "another one: pW4z8Lq2Vn6Xc0Tb9Ry3Kd7"),
            ("PUBLIC_URL", "https://gate.example.com"),
        ];
        let warnings = settings("[csrf]\nmode = \"report\"\n", &production).warnings;
        assert!(warnings.iter().any(|notice| notice.message.contains("refuses nothing")), "{warnings:?}");
    }
}

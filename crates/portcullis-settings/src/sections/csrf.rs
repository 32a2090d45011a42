//! `[csrf]`: the requests that need a CSRF token.

use portcullis_gate::CsrfMode;
use portcullis_model::policy::Environment;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;
use crate::engine::values::one_of;

static MODE: Key = Key::live(
    "mode",
    DefaultValue::Text("always"),
    "`always`, `cookie` or `report`",
    "The unsafe requests that need a CSRF token: `always` all, `cookie` those with the session cookie; `report` refuses none and counts them.",
);

pub(crate) static SECTION: Section = Section {
    name: "csrf",
    about: "\
[csrf.md](csrf.md) explains how a page gets its token, and which requests are never checked.",
    keys: &[&MODE],
};

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
        let message = "csrf.mode = \"report\" refuses no request: other sites can act for signed-in users";
        let hint = "set it to always or cookie as soon as csrf_reports_total no longer grows";
        warnings.push(Notice::new(&section.place_of(&MODE), message).hint(hint));
    }
    mode
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{refused, settings};

    #[test]
    fn csrf_is_always_checked_by_default() {
        assert_eq!(settings("", &[]).csrf_mode, CsrfMode::Always);
        assert_eq!(settings("", &[("PORTCULLIS__CSRF__MODE", "cookie")]).csrf_mode, CsrfMode::Cookie);
        assert!(refused("[csrf]\nmode = \"off\"\n", &[]).contains("hint: write always, cookie or report"));
    }

    #[test]
    fn production_that_only_reports_gets_a_warning() {
        assert!(settings("[csrf]\nmode = \"report\"\n", &[]).warnings.is_empty());
        let production = [
            ("PORTCULLIS_ENV", "production"),
            ("CSRF_SECRET", "fF3x-9QmZ_27hTqLw8RkVb5NcYd1GsPjAe"),
            ("ENCRYPTION_KEY", "another one: pW4z8Lq2Vn6Xc0Tb9Ry3Kd7"),
            ("PUBLIC_URL", "https://gate.example.com"),
        ];
        let warnings = settings("[csrf]\nmode = \"report\"\n", &production).warnings;
        assert!(warnings.iter().any(|notice| notice.message.contains("refuses no request")), "{warnings:?}");
    }
}

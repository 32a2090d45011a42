//! `[csrf]`: which requests need a token.

use portcullis_gate::CsrfMode;
use portcullis_model::Rejected;

use super::key::{Key, Preset, Section};
use super::notice::Problems;
use super::reader::Reader;
use super::tree::Table;
use super::words;

static MODE: Key = Key::new(
    "mode",
    Preset::Value("always"),
    "`always` or `cookie`",
    "Which unsafe requests need a CSRF token: all, or those that carry the session cookie.",
);

pub(super) static SECTION: Section = Section { name: "csrf", keys: &[&MODE] };

pub(super) fn read(tree: &Table, problems: &mut Problems) -> CsrfMode {
    let mut section = Reader::open(tree, &SECTION, problems);
    section.value(&MODE, |text| match text {
        "report" => {
            Err(Rejected("this version cannot only report; use always, or cookie while clients are moving".to_owned()))
        }
        _ => words(text, &[("always", CsrfMode::Always), ("cookie", CsrfMode::Cookie)]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::testing::{refused, settings};

    #[test]
    fn csrf_is_always_checked_unless_cookie_only_is_asked_for() {
        assert_eq!(settings("", &[]).csrf_mode, CsrfMode::Always);
        assert_eq!(settings("", &[("PORTCULLIS__CSRF__MODE", "cookie")]).csrf_mode, CsrfMode::Cookie);
        assert!(refused("[csrf]\nmode = \"report\"\n", &[]).contains("portcullis.toml:2: csrf.mode"));
        assert!(refused("[csrf]\nmode = \"off\"\n", &[]).contains("hint: it is always or cookie"));
    }
}

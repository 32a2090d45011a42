//! `[cors]`: whose pages may read answers.

use portcullis_model::InvalidInput;
use url::Url;

use crate::engine::key::{Key, Preset, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

static ALLOWED_ORIGINS: Key = Key::new(
    "allowed_origins",
    Preset::Otherwise("none"),
    "list of origins",
    "Pages of these origins may read answers and send cookies. Compared exactly, as browsers write them.",
)
.environment(&["ALLOWED_ORIGINS"]);

pub(crate) static SECTION: Section = Section { name: "cors", keys: &[&ALLOWED_ORIGINS] };

pub(crate) fn read(tree: &Table, problems: &mut Problems) -> Vec<String> {
    Reader::open(tree, &SECTION, problems).list(&ALLOWED_ORIGINS, parse_origin)
}

/// An origin in the one spelling that browsers send (RFC 6454 §6.2).
pub(crate) fn parse_origin(text: &str) -> Result<String, InvalidInput> {
    let form = "an origin is scheme, host and port (https://app.example.com, http://localhost:3000)";
    if text == "*" {
        return Err(InvalidInput(format!("every site would read answers with the visitor's cookies; {form}")));
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    let origin = url.map(|url| url.origin().ascii_serialization()).ok_or_else(|| InvalidInput(form.to_owned()))?;
    if origin == text { Ok(origin) } else { Err(InvalidInput(format!("browsers write it as {origin}"))) }
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    #[test]
    fn sr_29_origins_are_exact() {
        let origins = settings("", &[("ALLOWED_ORIGINS", "https://app.example.com, http://localhost:3000")]);
        assert_eq!(origins.allowed_origins, ["https://app.example.com", "http://localhost:3000"]);
        for (bad, hint) in [
            ("*", "every site would read"),
            ("https://app.example.com/", "browsers write it as https://app.example.com"),
            ("https://App.example.com", "browsers write it as https://app.example.com"),
            ("https://app.example.com:443", "browsers write it as https://app.example.com"),
            ("app.example.com", "an origin is scheme, host and port"),
            ("null", "an origin is"),
        ] {
            let said = refused("", &[("ALLOWED_ORIGINS", bad)]);
            assert!(said.contains(hint), "{bad}: {said}");
        }
    }
}

//! `[cors]`: the origins whose pages may read responses.

use portcullis_model::InvalidInput;
use url::Url;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

static ALLOWED_ORIGINS: Key = Key::live(
    "allowed_origins",
    DefaultValue::Described("none"),
    "list of origins",
    "The origins whose pages may read responses and send cookies. They are compared exactly, as browsers write them.",
)
.environment(&["ALLOWED_ORIGINS"]);

pub(crate) static SECTION: Section = Section {
    name: "cors",
    about: "\
Origins are exact: no `*`, no patterns, no path, and a port only where it is not the default of the scheme.",
    keys: &[&ALLOWED_ORIGINS],
};

pub(crate) fn read(tree: &Table, problems: &mut Problems) -> Vec<String> {
    Reader::open(tree, &SECTION, problems).list(&ALLOWED_ORIGINS, parse_origin)
}

/// Parses an origin in the spelling that browsers send (RFC 6454 §6.2).
pub(crate) fn parse_origin(text: &str) -> Result<String, InvalidInput> {
    let form = "write scheme, host and port (https://app.example.com, http://localhost:3000)";
    if text == "*" {
        return Err(InvalidInput(format!("every site could read responses with the cookies of the user; {form}")));
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    let origin = url.map(|url| url.origin().ascii_serialization()).ok_or_else(|| InvalidInput(form.to_owned()))?;
    if origin == text { Ok(origin) } else { Err(InvalidInput(format!("write it as browsers do: {origin}"))) }
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    #[test]
    fn sr_29_origins_are_exact() {
        let origins = settings("", &[("ALLOWED_ORIGINS", "https://app.example.com, http://localhost:3000")]);
        assert_eq!(origins.allowed_origins, ["https://app.example.com", "http://localhost:3000"]);
        for (bad, hint) in [
            ("*", "every site could read"),
            ("https://app.example.com/", "write it as browsers do: https://app.example.com"),
            ("https://App.example.com", "write it as browsers do: https://app.example.com"),
            ("https://app.example.com:443", "write it as browsers do: https://app.example.com"),
            ("app.example.com", "write scheme, host and port"),
            ("null", "write scheme"),
        ] {
            let message = refused("", &[("ALLOWED_ORIGINS", bad)]);
            assert!(message.contains(hint), "{bad}: {message}");
        }
    }
}

//! `[versions]` and `[versions.<version>]`: the versions of the API that are served, until when, and the default one.

use chrono::DateTime;
use portcullis_gate::{Version, Versions};
use portcullis_model::api_time::has_four_digit_year;
use portcullis_model::{InvalidInput, Timestamp};

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::{Node, Table, Value};

static DEPRECATED_AT: Key = Key::live(
    "deprecated_at",
    DefaultValue::Described("never"),
    "RFC 3339 date",
    "The time from which responses carry `Deprecation` and a link to the successor.",
);
static SUNSET_AT: Key = Key::live(
    "sunset_at",
    DefaultValue::Described("never"),
    "RFC 3339 date",
    "The time from which requests are answered 410; `Sunset` announces it.",
);
static RELEASED_AT: Key = Key::live(
    "released_at",
    DefaultValue::Described("none"),
    "RFC 3339 date",
    "The date of the release, for `/api/versions`.",
);
static DOCUMENTATION: Key = Key::live(
    "documentation",
    DefaultValue::Described("`/api/docs` for v1, else none"),
    "URL",
    "The address of the documentation, for `/api/versions`.",
);
static SUCCESSOR: Key = Key::live("successor", DefaultValue::Described("none"), "version", "The version to move to.");

static DEFAULT: Key = Key::live(
    "default",
    DefaultValue::Text("v1"),
    "version",
    "The version of requests that name none, which are those to `/api/<path>` without a version elsewhere. After its sunset its successor takes its place; without one the start is refused.",
);

/// The version of requests that name none.
pub(crate) static DEFAULT_SECTION: Section = Section {
    name: "versions",
    about: "What a version means for built-in endpoints and for routes is described in [contract.md](contract.md), \"API versions\".",
    keys: &[&DEFAULT],
};

/// One section for each version; `v1` is always served.
pub(crate) static SECTION: Section = Section {
    name: "versions.<version>",
    about: "`[versions.v1]`, `[versions.v2]` and so on up to `v999`. `v1` is always served.",
    keys: &[&RELEASED_AT, &DOCUMENTATION, &DEPRECATED_AT, &SUNSET_AT, &SUCCESSOR],
};

/// The versions of the API.
#[derive(Clone, Debug)]
pub struct ApiVersions {
    /// The versions that are served or were once; `v1` is always there.
    pub all: Vec<Version>,
    /// The name of the version for requests that name none.
    pub default: String,
}

impl ApiVersions {
    /// Returns the versions as the gate takes them.
    pub fn versions(&self) -> Versions {
        Versions::new(self.all.clone()).with_default(&self.default)
    }
}

/// How an operator gives requests without a version one again.
pub fn default_version_hint(name: &str) -> String {
    format!("set versions.{name}.successor, or versions.default, to a version that is served")
}

pub(crate) fn read(tree: &Table, problems: &mut Problems, warnings: &mut Vec<Notice>) -> ApiVersions {
    let all = read_all(tree, problems);
    let default = read_default(tree, &all, problems);
    let endless = |version: &&Version| version.sunset_at.is_none() || version.successor.is_some();
    if let Some(version) = all.iter().find(|version| version.name == default).filter(|version| !endless(version)) {
        let place = tree.get("versions").map_or(Place::Nowhere, |node| node.place.clone());
        let message = format!("{default} is the default version, and nothing follows it after its sunset_at");
        warnings.push(Notice::new(&place, message).hint(default_version_hint(&version.name)));
    }
    ApiVersions { all, default }
}

/// Reads `default`, which stands between the tables of the versions.
fn read_default(tree: &Table, all: &[Version], problems: &mut Problems) -> String {
    let node = tree.get("versions");
    let entries = node.and_then(|node| if let Value::Table(table) = &node.value { Some(table) } else { None });
    let own = entries.and_then(|table| table.get(DEFAULT.name)).map(|value| {
        let table = Table::from_iter([(DEFAULT.name.to_owned(), value.clone())]);
        Node { value: Value::Table(table), place: value.place.clone() }
    });
    let mut section = Reader::of(own.as_ref(), DEFAULT_SECTION.name.to_owned(), &DEFAULT_SECTION, problems);
    section.value(&DEFAULT, |text| {
        if all.iter().any(|version| version.name == text) {
            return Ok(text.to_owned());
        }
        Err(InvalidInput(if is_version(text) {
            format!("that version is not served; add [versions.{text}]")
        } else {
            "write v1, v2 and so on, up to v999".to_owned()
        }))
    })
}

fn read_all(tree: &Table, problems: &mut Problems) -> Vec<Version> {
    let mut versions = vec![Version::current("v1")];
    let Some(node) = tree.get("versions") else { return versions };
    let Value::Table(entries) = &node.value else {
        let message = format!("`versions` is {}, but must be a section for each version", node.value.kind());
        problems.add(Notice::new(&node.place, message).hint("write [versions.v1]"));
        return versions;
    };
    for (name, node) in entries.iter().filter(|(name, _)| *name != DEFAULT.name) {
        if !is_version(name) {
            let message = format!("`{name}` is not a version of the API");
            problems.add(Notice::new(&node.place, message).hint("write v1, v2 and so on, up to v999: [versions.v2]"));
            continue;
        }
        let version = read_one(name, node, entries, problems);
        versions.retain(|known| known.name != *name);
        versions.push(version);
    }
    versions
}

fn read_one(name: &str, node: &Node, all: &Table, problems: &mut Problems) -> Version {
    let mut section = Reader::of(Some(node), format!("versions.{name}"), &SECTION, problems);
    let version = Version {
        name: name.to_owned(),
        released_at: section.optional(&RELEASED_AT, parse_date),
        documentation: section
            .optional(&DOCUMENTATION, parse_documentation)
            .or_else(|| Version::default_documentation(name)),
        deprecated_at: section.optional(&DEPRECATED_AT, parse_date),
        sunset_at: section.optional(&SUNSET_AT, parse_date),
        successor: section.optional(&SUCCESSOR, |text| match text {
            _ if text == name => Err(InvalidInput("name another version: a version cannot succeed itself".to_owned())),
            _ if text == "v1" || all.contains_key(text) => Ok(text.to_owned()),
            _ => Err(InvalidInput(format!("that version is not served; add [versions.{text}]"))),
        }),
    };
    if let (Some(deprecated), Some(sunset)) = (version.deprecated_at, version.sunset_at)
        && sunset < deprecated
    {
        section.reject(&SUNSET_AT, "is before deprecated_at", "set sunset_at to deprecated_at or later");
    }
    version
}

/// Whether a text has the form `v[1-9][0-9]{0,2}` (docs/contract.md, "API versions").
pub(crate) fn is_version(text: &str) -> bool {
    match text.as_bytes() {
        [b'v', b'1'..=b'9', rest @ ..] => rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Parses a URL, or a path of this server.
fn parse_documentation(text: &str) -> Result<String, InvalidInput> {
    let is_url = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if is_url || (text.starts_with('/') && !text.starts_with("//")) {
        return Ok(text.to_owned());
    }
    Err(InvalidInput("write a URL that begins with https://, or a path that begins with /".to_owned()))
}

fn parse_date(text: &str) -> Result<Timestamp, InvalidInput> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|date| date.to_utc())
        .filter(has_four_digit_year)
        .ok_or_else(|| InvalidInput("write a date as RFC 3339 with its offset (2027-01-31T00:00:00Z)".to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    #[test]
    fn v1_and_every_named_version_are_served() {
        assert_eq!(settings("", &[]).versions.all.len(), 1);
        let file = "[versions.v1]\ndeprecated_at = 2027-01-01T00:00:00Z\nsunset_at = \"2027-07-01T00:00:00+02:00\"\nsuccessor = \"v2\"\n[versions.v2]\n";
        let versions = settings(file, &[]).versions.all;
        assert_eq!(versions.len(), 2);
        assert_eq!(versions[0].sunset_at.expect("set").to_rfc3339(), "2027-06-30T22:00:00+00:00");
    }

    #[test]
    fn an_invalid_version_or_date_is_refused_with_its_line() {
        let message = refused("[versions.v0]\n[versions.v1]\nsunset_at = \"soon\"\nsuccessor = \"v7\"\n", &[]);
        for part in [
            "portcullis.toml:1: `v0` is not a version",
            "portcullis.toml:3: versions.v1.sunset_at = \"soon\" cannot be used\n  hint: write a date",
            "portcullis.toml:4: versions.v1.successor = \"v7\" cannot be used\n  hint: that version is not served; add [versions.v7]",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }

    #[test]
    fn v1_keeps_its_documentation_when_its_table_names_none() {
        let versions = settings("[versions.v1]\nreleased_at = 2025-01-01T00:00:00Z\n[versions.v2]\n", &[]).versions.all;
        let documentation: Vec<_> = versions.iter().map(|version| version.documentation.as_deref()).collect();
        assert_eq!(documentation, [Some("/api/docs"), None]);
    }

    #[test]
    fn the_default_is_v1_or_another_version_that_is_served() {
        assert_eq!(settings("[versions.v2]\n", &[]).versions.default, "v1");
        let file = "[versions]\ndefault = \"v2\"\n[versions.v2]\n";
        assert_eq!(settings(file, &[]).versions.default, "v2");
        let environment = [("PORTCULLIS__VERSIONS__DEFAULT", "v2"), ("PORTCULLIS__VERSIONS__V2__SUCCESSOR", "v1")];
        assert_eq!(settings("", &environment).versions.default, "v2");
        for (default, hint) in [("v3", "add [versions.v3]"), ("2", "write v1, v2 and so on")] {
            let message = refused(&format!("[versions]\ndefault = \"{default}\"\n"), &[]);
            let expected = format!("portcullis.toml:2: versions.default = \"{default}\" cannot be used");
            assert!(message.starts_with(&expected) && message.contains(hint), "{message}");
        }
    }

    #[test]
    fn a_default_that_will_end_without_successor_gets_a_warning() {
        let warnings = |file: &str| settings(file, &[]).warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
        let ending = "[versions.v1]\nsunset_at = 2096-01-01T00:00:00Z\n";
        let found = warnings(ending);
        assert!(
            found.len() == 1 && found[0].contains("v1 is the default version, and nothing follows it"),
            "{found:?}"
        );
        assert!(warnings(&format!("{ending}successor = \"v2\"\n[versions.v2]\n")).is_empty());
        assert!(warnings(&format!("[versions]\ndefault = \"v2\"\n{ending}[versions.v2]\n")).is_empty());
    }
}

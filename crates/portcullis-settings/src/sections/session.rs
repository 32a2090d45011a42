//! `[session]`: how long people stay signed in, and what their tokens say.

use std::time::Duration;

use portcullis_identity::{SigningAlgorithm, UnknownAlgorithm};
use portcullis_model::InvalidInput;
use portcullis_model::duration::parse_duration;
use url::Url;

use crate::engine::key::{Key, Preset, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;
use crate::engine::values::positive_duration;

/// `[session]`.
#[derive(Clone, Debug)]
pub struct Session {
    /// How long an access token is good.
    pub access_ttl: Duration,
    /// A session ends when it was not refreshed for this long.
    pub refresh_idle: Duration,
    /// A session ends after this long, whatever happens.
    pub absolute: Duration,
    /// The same for one with `rememberMe`.
    pub absolute_remembered: Duration,
    /// How long sessions that are known go on while SQL cannot be reached.
    pub stale_max: Duration,
    /// `iss` of access tokens.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// What new signing keys sign with.
    pub signing_algorithm: SigningAlgorithm,
}

static ACCESS_TTL: Key = Key::new("access_ttl", Preset::Value("24h"), "duration", "How long an access token is good.")
    .environment(&["JWT_EXPIRES_IN"]);
static REFRESH_IDLE: Key = Key::new(
    "refresh_idle",
    Preset::Value("7d"),
    "duration",
    "A session ends when it was not refreshed for this long.",
)
.environment(&["JWT_REFRESH_EXPIRES_IN"]);
static ABSOLUTE: Key =
    Key::new("absolute", Preset::Value("30d"), "duration", "A session ends after this long, whatever happens.");
static ABSOLUTE_REMEMBERED: Key =
    Key::new("absolute_remembered", Preset::Value("90d"), "duration", "The same for a session with `rememberMe`.");
static STALE_MAX: Key = Key::new(
    "stale_max",
    Preset::Value("5m"),
    "duration",
    "How long sessions that this process knows go on while SQL cannot be reached.",
);
static ISSUER: Key = Key::new(
    "issuer",
    Preset::Otherwise("`PUBLIC_URL`, or `portcullis` without one"),
    "text",
    "`iss` of access tokens. Changing it ends every access token.",
);
static AUDIENCE: Key = Key::new(
    "audience",
    Preset::Value("portcullis"),
    "text",
    "`aud` of access tokens. Changing it ends every access token.",
);

static SIGNING_ALGORITHM: Key = Key::new(
    "signing_algorithm",
    Preset::Value("EdDSA"),
    "`EdDSA` or `ES256`",
    "What new signing keys sign with: the first one, and those of `portcullis keys rotate`.",
);

pub(crate) static SECTION: Section = Section {
    name: "session",
    keys: &[
        &ACCESS_TTL,
        &REFRESH_IDLE,
        &ABSOLUTE,
        &ABSOLUTE_REMEMBERED,
        &STALE_MAX,
        &ISSUER,
        &AUDIENCE,
        &SIGNING_ALGORITHM,
    ],
};

pub(crate) fn read(tree: &Table, public_url: Option<&Url>, problems: &mut Problems) -> Session {
    let mut section = Reader::open(tree, &SECTION, problems);
    let issuer = section.optional(&ISSUER, claim);
    let public = || public_url.map(|url| url.as_str().trim_end_matches('/').to_owned());
    let session = Session {
        access_ttl: section.value(&ACCESS_TTL, positive_duration),
        refresh_idle: section.value(&REFRESH_IDLE, positive_duration),
        absolute: section.value(&ABSOLUTE, positive_duration),
        absolute_remembered: section.value(&ABSOLUTE_REMEMBERED, positive_duration),
        stale_max: section.value(&STALE_MAX, parse_duration),
        issuer: issuer.or_else(public).unwrap_or_else(|| "portcullis".to_owned()),
        audience: section.value(&AUDIENCE, claim),
        signing_algorithm: section.value(&SIGNING_ALGORITHM, |text| {
            text.parse().map_err(|error: UnknownAlgorithm| InvalidInput(error.to_string()))
        }),
    };
    if session.absolute > session.absolute_remembered {
        section.reject(&ABSOLUTE_REMEMBERED, "is shorter than session.absolute", "remembering makes a session longer");
    }
    session
}

fn claim(text: &str) -> Result<String, InvalidInput> {
    let good = (1..=200).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    good.then(|| text.to_owned()).ok_or_else(|| InvalidInput("it is 1 to 200 bytes without spaces".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{refused, settings};

    #[test]
    fn durations_in_every_unit_and_plain_seconds() {
        for (text, seconds) in [("45s", 45), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("3600", 3600)] {
            assert_eq!(settings("", &[("JWT_EXPIRES_IN", text)]).session.access_ttl, Duration::from_secs(seconds));
        }
        assert_eq!(settings("[session]\naccess_ttl = 90\n", &[]).session.access_ttl, Duration::from_secs(90));
        let defaults = settings("", &[]).session;
        assert_eq!((defaults.access_ttl.as_secs(), defaults.refresh_idle.as_secs()), (86_400, 604_800));
    }

    #[test]
    fn any_other_duration_is_refused_with_its_name_and_line() {
        let said = refused("", &[("JWT_REFRESH_EXPIRES_IN", "1w")]);
        assert!(
            said.starts_with("environment JWT_REFRESH_EXPIRES_IN: session.refresh_idle = \"1w\" cannot be used\n  hint: a duration is digits"),
            "{said}"
        );
        let said = refused("[session]\n\naccess_ttl = \"1.5h\"\n", &[]);
        assert!(
            said.starts_with("portcullis.toml:3: session.access_ttl = \"1.5h\" cannot be used\n  hint: "),
            "{said}"
        );
        assert!(refused("", &[("JWT_EXPIRES_IN", "0")]).contains("at least 1s"));
    }

    #[test]
    fn tokens_are_issued_in_the_name_of_the_public_address() {
        assert_eq!(settings("", &[]).session.issuer, "portcullis");
        assert_eq!(settings("", &[("PUBLIC_URL", "https://gate.example/")]).session.issuer, "https://gate.example");
    }
}

//! `[session]`: the lifetimes of sessions and access tokens, and the claims of the tokens.

use std::time::Duration;

use portcullis_identity::{SigningAlgorithm, UnknownAlgorithm};
use portcullis_model::InvalidInput;
use portcullis_model::duration::parse_duration;
use url::Url;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;
use crate::engine::values::positive_duration;

/// The section `[session]`.
#[derive(Clone, Debug)]
pub struct Session {
    /// How long an access token is valid.
    pub access_ttl: Duration,
    /// How long a session may go without a refresh before it ends.
    pub refresh_idle: Duration,
    /// The longest lifetime of a session.
    pub absolute: Duration,
    /// The longest lifetime of a session with `rememberMe`.
    pub absolute_remembered: Duration,
    /// The most live sessions of one user.
    pub max_per_user: u64,
    /// How long sessions validated before an outage of SQL stay accepted during it.
    pub stale_max: Duration,
    /// How far in the future `nbf` and `iat` of an access token may lie.
    pub clock_leeway: Duration,
    /// The claim `iss` of access tokens.
    pub issuer: String,
    /// The claim `aud` of access tokens.
    pub audience: String,
    /// The algorithm of new signing keys.
    pub signing_algorithm: SigningAlgorithm,
}

static ACCESS_TTL: Key =
    Key::restart("access_ttl", DefaultValue::Text("24h"), "duration", "How long an access token is valid.")
        .environment(&["JWT_EXPIRES_IN"]);
static REFRESH_IDLE: Key = Key::restart(
    "refresh_idle",
    DefaultValue::Text("7d"),
    "duration",
    "A session that is not refreshed for this long ends.",
)
.environment(&["JWT_REFRESH_EXPIRES_IN"]);
static ABSOLUTE: Key =
    Key::restart("absolute", DefaultValue::Text("30d"), "duration", "The longest lifetime of a session.");
static ABSOLUTE_REMEMBERED: Key = Key::restart(
    "absolute_remembered",
    DefaultValue::Text("90d"),
    "duration",
    "The longest lifetime of a session with `rememberMe`.",
);
static MAX_PER_USER: Key = Key::restart(
    "max_per_user",
    DefaultValue::Text("100"),
    "sessions, 1 to 1000",
    "The most live sessions of one user. A sign-in beyond that ends the session that was used least recently.",
);
static STALE_MAX: Key = Key::restart(
    "stale_max",
    DefaultValue::Text("5m"),
    "duration",
    "How long sessions validated before an outage of the database stay accepted during it.",
);
static CLOCK_LEEWAY: Key = Key::live(
    "clock_leeway",
    DefaultValue::Text("60s"),
    "duration",
    "How far in the future `nbf` and `iat` of an access token may lie, at most 10m. `exp` is exact.",
);
static ISSUER: Key = Key::restart(
    "issuer",
    DefaultValue::Described("`PUBLIC_URL`, or `portcullis` without one"),
    "text",
    "The claim `iss` of access tokens. A change invalidates every access token.",
);
static AUDIENCE: Key = Key::restart(
    "audience",
    DefaultValue::Text("portcullis"),
    "text",
    "The claim `aud` of access tokens. A change invalidates every access token.",
);

static SIGNING_ALGORITHM: Key = Key::restart(
    "signing_algorithm",
    DefaultValue::Text("EdDSA"),
    "`EdDSA` or `ES256`",
    "The algorithm of new signing keys: the first one, and those of `portcullis keys rotate`.",
);

pub(crate) static SECTION: Section = Section {
    name: "session",
    about: "`JWT_EXPIRES_IN` and `JWT_REFRESH_EXPIRES_IN` count from the sign-in or the last refresh.",
    keys: &[
        &ACCESS_TTL,
        &REFRESH_IDLE,
        &ABSOLUTE,
        &ABSOLUTE_REMEMBERED,
        &MAX_PER_USER,
        &STALE_MAX,
        &CLOCK_LEEWAY,
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
        max_per_user: section.number(&MAX_PER_USER, 1, 1_000).into(),
        stale_max: section.value(&STALE_MAX, parse_duration),
        clock_leeway: section.value(&CLOCK_LEEWAY, leeway),
        issuer: issuer.or_else(public).unwrap_or_else(|| "portcullis".to_owned()),
        audience: section.value(&AUDIENCE, claim),
        signing_algorithm: section.value(&SIGNING_ALGORITHM, |text| {
            text.parse().map_err(|error: UnknownAlgorithm| InvalidInput(error.to_string()))
        }),
    };
    if session.absolute > session.absolute_remembered {
        section.reject(&ABSOLUTE_REMEMBERED, "is shorter than session.absolute", "set it to at least session.absolute");
    }
    session
}

fn leeway(text: &str) -> Result<Duration, InvalidInput> {
    let leeway = parse_duration(text)?;
    let is_short = leeway <= Duration::from_secs(600);
    is_short.then_some(leeway).ok_or_else(|| InvalidInput("write at most 10m".to_owned()))
}

fn claim(text: &str) -> Result<String, InvalidInput> {
    let good = (1..=200).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    good.then(|| text.to_owned()).ok_or_else(|| InvalidInput("write 1 to 200 bytes without spaces".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{refused, settings};

    #[test]
    fn durations_have_units_or_are_plain_seconds() {
        for (text, seconds) in [("45s", 45), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("3600", 3600)] {
            assert_eq!(settings("", &[("JWT_EXPIRES_IN", text)]).session.access_ttl, Duration::from_secs(seconds));
        }
        assert_eq!(settings("[session]\naccess_ttl = 90\n", &[]).session.access_ttl, Duration::from_secs(90));
        let defaults = settings("", &[]).session;
        assert_eq!((defaults.access_ttl.as_secs(), defaults.refresh_idle.as_secs()), (86_400, 604_800));
    }

    #[test]
    fn an_invalid_duration_is_refused_with_its_name_and_line() {
        let message = refused("", &[("JWT_REFRESH_EXPIRES_IN", "1w")]);
        assert!(
            message.starts_with("environment JWT_REFRESH_EXPIRES_IN: session.refresh_idle = \"1w\" cannot be used\n  hint: a duration is digits"),
            "{message}"
        );
        let message = refused("[session]\n\naccess_ttl = \"1.5h\"\n", &[]);
        assert!(
            message.starts_with("portcullis.toml:3: session.access_ttl = \"1.5h\" cannot be used\n  hint: "),
            "{message}"
        );
        assert!(refused("", &[("JWT_EXPIRES_IN", "0")]).contains("at least 1s"));
    }

    #[test]
    fn the_clock_leeway_is_a_minute_and_at_most_ten() {
        assert_eq!(settings("", &[]).session.clock_leeway, Duration::from_secs(60));
        assert_eq!(settings("[session]\nclock_leeway = \"0s\"\n", &[]).session.clock_leeway, Duration::ZERO);
        let said = refused("[session]\nclock_leeway = \"11m\"\n", &[]);
        assert!(said.contains("session.clock_leeway = \"11m\" cannot be used\n  hint: write at most 10m"), "{said}");
    }

    #[test]
    fn a_user_may_have_100_sessions_by_default() {
        assert_eq!(settings("", &[]).session.max_per_user, 100);
        assert_eq!(settings("[session]\nmax_per_user = 5\n", &[]).session.max_per_user, 5);
        assert!(refused("[session]\nmax_per_user = 0\n", &[]).contains("session.max_per_user = 0 cannot be used"));
    }

    #[test]
    fn the_issuer_of_tokens_is_the_public_url_by_default() {
        assert_eq!(settings("", &[]).session.issuer, "portcullis");
        assert_eq!(settings("", &[("PUBLIC_URL", "https://gate.example/")]).session.issuer, "https://gate.example");
    }
}

//! `[secrets]`: the secrets of the installation, and the rules for a good secret.

use std::time::Duration;

use portcullis_model::{InvalidInput, SecretRing, SecretString, policy::Environment};
use portcullis_secrets::StoreOptions;

use super::secret_store;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::Reader;
use crate::engine::sources::Stored;
use crate::engine::tree::Table;
use crate::engine::values::positive_duration;
use crate::engine::variables::Variables;

/// The secrets that were configured. In development missing ones are made when they are first needed, see
/// [`Settings::load_or_create_secrets`](crate::Settings::load_or_create_secrets).
#[derive(Clone, Debug)]
pub struct ConfiguredSecrets {
    /// The secrets that sign CSRF tokens.
    pub csrf: Option<SecretRing>,
    /// The secrets that seal values in the database: signing keys, successors of refresh tokens.
    pub encryption: Option<SecretRing>,
    /// The secrets that sign access tokens with HS256 in place of keys in the database.
    pub jwt: Option<SecretRing>,
}

/// The shortest secret, in bytes (docs/contract.md, "Settings and environment").
pub(crate) const MIN_SECRET_BYTES: usize = 32;
/// The fewest different bytes of a secret.
const MIN_DIFFERENT_BYTES: usize = 8;

static CSRF: Key = Key::live(
    "csrf_secret",
    DefaultValue::Described("made on first start; production needs it"),
    "text of at least 32 bytes; or several, one a line: the first signs, all are accepted",
    "The secret that signs CSRF tokens. It must be the same on every replica.",
)
.environment(&["CSRF_SECRET"])
.secret();
static ENCRYPTION: Key = Key::live(
    "encryption_key",
    DefaultValue::Described("made on first start; production needs it"),
    "text of at least 32 bytes; or several, one a line: the first signs, all are accepted",
    "The secret that seals signing keys and other secrets in the database. It must be the same on every replica, and be kept as long as the database.",
)
.environment(&["ENCRYPTION_KEY"])
.secret();
static JWT: Key = Key::live(
    "jwt_secret",
    DefaultValue::Described("none: Ed25519 keys in the database"),
    "text of at least 32 bytes; or several, one a line: the first signs, all are accepted",
    "The secret that signs access tokens with HS256, for services that cannot read a JWKS.",
)
.environment(&["JWT_SECRET"])
.secret();

static REFRESH: Key = Key::live(
    "refresh",
    DefaultValue::Text("5m"),
    "duration",
    "How often a running gateway reads the store again. Replaced secrets are put in force as by a reload.",
);

pub(crate) static SECTION: Section = Section {
    name: "secrets",
    about: "\
In development the first two are made on the first start and kept in the data folder, readable for their owner
only. In production they must be set, to the same values on every replica; `portcullis keys init` makes them. A
secret is any text of at least 32 bytes; texts that examples publish are refused. Set secrets in the environment
or in a file (`CSRF_SECRET_FILE`), or keep them in a store, rather than in `portcullis.toml`:
[secrets.md](secrets.md).",
    keys: &[&CSRF, &ENCRYPTION, &JWT, &secret_store::VAULT, &secret_store::AWS, &REFRESH],
};

/// Reads which store of secrets is used, and how often it is read again.
pub(crate) fn read_store(
    tree: &Table,
    variables: &Variables,
    problems: &mut Problems,
) -> (Option<StoreOptions>, Duration) {
    let mut section = Reader::open(tree, &SECTION, problems);
    let refresh = section.value(&REFRESH, positive_duration);
    (secret_store::read(&mut section, variables), refresh)
}

/// Reads the secrets. While the store that the settings name was not asked, none counts as missing.
pub(crate) fn read(
    tree: &Table,
    environment: Environment,
    stored: &Stored,
    problems: &mut Problems,
    warnings: &mut Vec<Notice>,
) -> ConfiguredSecrets {
    let mut section = Reader::open(tree, &SECTION, problems);
    let has_store = section.node(&secret_store::VAULT).or(section.node(&secret_store::AWS)).is_some();
    let is_known = !has_store || matches!(stored, Stored::Read(_));
    let mut secret = |key: &'static Key| {
        let found = section.optional(key, parse_secrets);
        let is_missing = is_known && section.node(key).is_none();
        if environment == Environment::Production && is_missing && key.name != JWT.name {
            let name = key.environment[0];
            let message = format!("{name} is missing: production does not make its own secrets");
            let mut hint = format!("make one with `portcullis keys init` and set {name} or {name}_FILE");
            if let Stored::Read(stored) = stored {
                hint.push_str(&format!(", or add it to {}", stored.store));
            }
            section.problems.add(Notice::new(&Place::Nowhere, message).hint(hint));
        }
        found
    };
    let secrets = ConfiguredSecrets { csrf: secret(&CSRF), encryption: secret(&ENCRYPTION), jwt: secret(&JWT) };
    let same = |a: &Option<SecretRing>, b: &Option<SecretRing>| {
        let shared = |a: &SecretRing, b: &SecretRing| a.iter().any(|a| b.iter().any(|b| a.expose() == b.expose()));
        a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| shared(a, b))
    };
    for (first, second, key) in [
        (&secrets.csrf, &secrets.encryption, &ENCRYPTION),
        (&secrets.csrf, &secrets.jwt, &JWT),
        (&secrets.encryption, &secrets.jwt, &JWT),
    ] {
        if same(first, second) {
            let notice =
                Notice::new(&section.place_of(key), format!("{} is the same as another secret", section.path(key)));
            warnings.push(
                notice.hint("use a different secret for each, so that a leak of one does not expose the others: `portcullis keys init`"),
            );
        }
    }
    secrets
}

/// Parses secrets, one a line. The first signs and seals; all verify and open.
pub(crate) fn parse_secrets(text: &str) -> Result<SecretRing, InvalidInput> {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let secrets = lines.map(parse_secret).collect::<Result<Vec<_>, _>>()?;
    // A text without any line is too short.
    SecretRing::new(secrets).map_or_else(|| parse_secret("").map(SecretRing::from), Ok)
}

/// Refuses a text that is too short for a secret, or that examples publish.
fn parse_secret(text: &str) -> Result<SecretString, InvalidInput> {
    if text.len() < MIN_SECRET_BYTES {
        return Err(InvalidInput(format!(
            "it has {} bytes and needs at least {MIN_SECRET_BYTES}; make one with `portcullis keys init`",
            text.len()
        )));
    }
    if is_known_default(text) {
        return Err(InvalidInput(
            "examples publish this text, so it is not a secret; make one with `portcullis keys init`".to_owned(),
        ));
    }
    Ok(SecretString::new(text))
}

/// Words of placeholders in sample configurations. A random text does not have them.
const PLACEHOLDERS: [&str; 20] = [
    "changeme",
    "changethis",
    "changeinproduction",
    "changebefore",
    "replaceme",
    "replacethis",
    "replacewith",
    "yoursecret",
    "yoursuper",
    "yourjwt",
    "yourcsrf",
    "yourencryption",
    "supersecret",
    "secretkey",
    "donotuse",
    "fordevelopment",
    "foryourapp",
    "insecure",
    "longsecret",
    "notasecret",
];
/// Characters in a row that follow each other, as in `abcdefghij`. In a random text of 64 characters half of this is rare.
const LONGEST_RUN: usize = 10;

fn is_known_default(text: &str) -> bool {
    let letters: String = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let mut seen = [false; 256];
    for byte in text.bytes() {
        seen[usize::from(byte)] = true;
    }
    let different = seen.iter().filter(|seen| **seen).count();
    different < MIN_DIFFERENT_BYTES
        || PLACEHOLDERS.iter().any(|word| letters.contains(word))
        || repeats_itself(text.as_bytes())
        || has_a_run(letters.as_bytes())
}

/// Whether the text is a shorter one again and again.
fn repeats_itself(text: &[u8]) -> bool {
    (1..=text.len() / 2).any(|period| text[period..] == text[..text.len() - period])
}

/// Whether the text counts, or recites the alphabet.
fn has_a_run(text: &[u8]) -> bool {
    let follows = |pair: &[u8]| matches!(pair, [a, b] if a.checked_add(1) == Some(*b)) || pair == b"90";
    let mut run = 1;
    text.windows(2).any(|pair| {
        run = if follows(pair) { run + 1 } else { 1 };
        run >= LONGEST_RUN
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    const GOOD: &str = "fF3x-9QmZ_27hTqLw8RkVb5NcYd1GsPjAe";

    #[test]
    fn production_names_every_missing_secret() {
        let message = refused("", &[("PORTCULLIS_ENV", "production")]);
        for name in ["CSRF_SECRET is missing", "ENCRYPTION_KEY is missing", "PUBLIC_URL is missing", "keys init"] {
            assert!(message.contains(name), "{name} in {message}");
        }
        assert!(!message.contains("JWT_SECRET"), "{message}");
        let complete = settings(
            "",
            &[
                ("PORTCULLIS_ENV", "production"),
                ("CSRF_SECRET", GOOD),
                ("ENCRYPTION_KEY", "another one: pW4z8Lq2Vn6Xc0Tb9Ry3Kd7"),
                ("PUBLIC_URL", "https://gate.example.com"),
            ],
        );
        assert_eq!(complete.server.listen.to_string(), "0.0.0.0:8000");
    }

    #[test]
    fn short_and_published_secrets_are_refused_and_never_shown() {
        for name in ["CSRF_SECRET", "ENCRYPTION_KEY", "JWT_SECRET"] {
            for bad in [
                "too short to be one",
                "your-super-secret-jwt-key-change-in-production",
                "change_me_change_me_change_me_change_me",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "00000000000000000000000000000000",
                "my Secret Key for development only, really",
                "0123456789abcdef0123456789abcdef",
                "12345678123456781234567812345678",
                "Tr0ub4dor&3 Tr0ub4dor&3 Tr0ub4dor&3 ",
                "abcdefghijklmnopqrstuvwxyzABCDEFGH",
                "a-very-long-secret-that-is-32-bytes-or-more",
                "gate-2026-1234567890-1234567890-x",
            ] {
                let message = refused("", &[(name, bad)]);
                assert!(message.starts_with(&format!("environment {name}: secrets.")), "{message}");
                assert!(!message.contains(bad) && message.contains("keys init"), "{message}");
            }
            assert!(settings("", &[(name, GOOD)]).warnings.is_empty());
        }
    }

    #[test]
    fn a_new_secret_is_written_above_the_old_one() {
        let other = "another one: pW4z8Lq2Vn6Xc0Tb9Ry3Kd7";
        let ring = settings("", &[("CSRF_SECRET", &format!("{GOOD}\r\n{other}\n\n"))]).secrets.csrf.expect("given");
        let texts: Vec<&str> = ring.iter().map(portcullis_model::SecretString::expose).collect();
        assert_eq!((texts, ring.current().expose()), (vec![GOOD, other], GOOD));
        let message = refused("", &[("CSRF_SECRET", &format!("{GOOD}\ntoo short"))]);
        assert!(message.contains("needs at least 32") && !message.contains("too short"), "{message}");
        assert!(refused("", &[("CSRF_SECRET", "\n\n")]).contains("CSRF_SECRET"));
    }

    #[test]
    fn one_secret_for_two_purposes_gets_a_warning() {
        let warnings = settings("", &[("CSRF_SECRET", GOOD), ("ENCRYPTION_KEY", GOOD)]).warnings;
        assert!(
            warnings[0].to_string().contains("secrets.encryption_key is the same as another secret"),
            "{warnings:?}"
        );
    }
}

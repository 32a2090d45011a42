//! `[redis]`: what replicas share beside SQL.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_model::InvalidInput;
use portcullis_redis::RedisUrl;

use crate::engine::key::{Key, Preset, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;
use crate::engine::values::positive_duration;

/// `[redis]`, when there is one.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Where.
    pub url: RedisUrl,
    /// What every key begins with.
    pub prefix: String,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The authorities that vouch for the server, as PEM; the system's when absent.
    pub authorities: Option<PathBuf>,
}

static URL: Key = Key::new(
    "url",
    Preset::Otherwise("none: limits are counted and revocations announced without Redis"),
    "URL",
    "`redis://user:password@host:6379/0`, `rediss://` for TLS, `redis-sentinel://` or `redis-cluster://`.",
)
.environment(&["REDIS_URL"])
.secret();
static PREFIX: Key = Key::new(
    "prefix",
    Preset::Value("portcullis"),
    "text",
    "What every key and channel begins with, so that installations can share a Redis.",
);
static CONNECT_TIMEOUT: Key =
    Key::new("connect_timeout", Preset::Value("2s"), "duration", "How long connecting may take.");
static AUTHORITIES: Key = Key::new(
    "authorities",
    Preset::Otherwise("the system's authorities"),
    "path",
    "The authorities that vouch for the server, as PEM.",
);

pub(crate) static SECTION: Section = Section { name: "redis", keys: &[&URL, &PREFIX, &CONNECT_TIMEOUT, &AUTHORITIES] };

/// The longest prefix.
const PREFIX_LENGTH: usize = 64;

pub(crate) fn read(tree: &Table, problems: &mut Problems) -> Option<Redis> {
    let mut section = Reader::open(tree, &SECTION, problems);
    let url = section.optional(&URL, RedisUrl::parse);
    let prefix = section.value(&PREFIX, parse_prefix);
    let connect_timeout = section.value(&CONNECT_TIMEOUT, positive_duration);
    let authorities = section.optional(&AUTHORITIES, |text| Ok(PathBuf::from(text)));
    url.map(|url| Redis { url, prefix, connect_timeout, authorities })
}

fn parse_prefix(text: &str) -> Result<String, InvalidInput> {
    // Braces would decide in which part of a cluster a key lies.
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if (1..=PREFIX_LENGTH).contains(&text.len()) && text.bytes().all(good) {
        Ok(text.to_owned())
    } else {
        Err(InvalidInput("a prefix is 1 to 64 letters, digits and - _ . :".into()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    #[test]
    fn without_an_address_there_is_no_redis() {
        assert!(settings("", &[]).redis.is_none());
        let redis = settings("", &[("REDIS_URL", "redis://10.0.0.9:6380/2")]).redis.expect("is set");
        assert_eq!((redis.prefix.as_str(), redis.connect_timeout.as_secs()), ("portcullis", 2));
    }

    #[test]
    fn sr_47_a_bad_address_is_refused_without_showing_its_password() {
        let said = refused("", &[("REDIS_URL", "http://ada:hunter2@cache/x")]);
        assert!(said.starts_with("environment REDIS_URL: redis.url cannot be used\n  hint: "), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_prefix_is_plain() {
        assert_eq!(
            settings("[redis]\nurl = \"redis://a\"\nprefix = \"shop-1\"\n", &[]).redis.expect("is set").prefix,
            "shop-1"
        );
        assert!(refused("[redis]\nprefix = \"a{b}\"\n", &[]).contains("portcullis.toml:2: redis.prefix"));
    }
}

//! `[redis]`: the server that replicas share besides SQL.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_model::InvalidInput;
use portcullis_redis::RedisUrl;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;
use crate::engine::values::positive_duration;

/// The section `[redis]`, if a server is set.
#[derive(Clone, Debug)]
pub struct Redis {
    /// The address of the server, a sentinel or a cluster.
    pub url: RedisUrl,
    /// The beginning of every key and channel.
    pub prefix: String,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// The PEM file of the authorities that may sign the certificate of the server; `None` for those of the system.
    pub authorities: Option<PathBuf>,
}

static URL: Key = Key::restart(
    "url",
    DefaultValue::Described("none: each replica counts limits for itself"),
    "URL",
    "`redis://user:password@host:6379/0`, `rediss://` for TLS, `redis-sentinel://` or `redis-cluster://`.",
)
.environment(&["REDIS_URL"])
.secret();
static PREFIX: Key = Key::restart(
    "prefix",
    DefaultValue::Text("portcullis"),
    "text",
    "The beginning of every key and channel, so that several installations can share a Redis.",
);
static CONNECT_TIMEOUT: Key =
    Key::restart("connect_timeout", DefaultValue::Text("2s"), "duration", "How long a connection may take to open.");
static AUTHORITIES: Key = Key::restart(
    "authorities",
    DefaultValue::Described("the system's authorities"),
    "path",
    "The PEM file of the authorities that may sign the certificate of the server.",
);

pub(crate) static SECTION: Section = Section {
    name: "redis",
    about: "\
The server that replicas share besides the database, see [redis.md](redis.md). Without it each replica counts
limits for itself.",
    keys: &[&URL, &PREFIX, &CONNECT_TIMEOUT, &AUTHORITIES],
};

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
    // Braces would decide the hash slot of a key in a cluster.
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if (1..=PREFIX_LENGTH).contains(&text.len()) && text.bytes().all(good) {
        Ok(text.to_owned())
    } else {
        Err(InvalidInput("write 1 to 64 letters, digits and - _ . :".into()))
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
        let message = refused("", &[("REDIS_URL", "http://ada:hunter2@cache/x")]);
        assert!(message.starts_with("environment REDIS_URL: redis.url cannot be used\n  hint: "), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_prefix_has_letters_digits_and_few_signs() {
        assert_eq!(
            settings("[redis]\nurl = \"redis://a\"\nprefix = \"shop-1\"\n", &[]).redis.expect("is set").prefix,
            "shop-1"
        );
        assert!(refused("[redis]\nprefix = \"a{b}\"\n", &[]).contains("portcullis.toml:2: redis.prefix"));
    }
}

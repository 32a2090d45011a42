//! `REDIS_URL`: the address and layout (one server, Sentinel or cluster).

use std::fmt;

use fred::types::config::{Config, Server, ServerConfig};
use portcullis_model::input::did_you_mean;
use portcullis_model::{InvalidInput, SecretString};

/// The address of Redis. Its `Display` and `Debug` output never shows user and password.
#[derive(Clone)]
pub struct RedisUrl {
    whole: SecretString,
    shown: String,
}

const FORM: &str = "a Redis address is redis://user:password@host:6379/0 (rediss:// for TLS), \
    redis-sentinel://host:26379?sentinelServiceName=name or redis-cluster://host:7000?node=host:7001, \
    special characters in the password percent-encoded";

impl RedisUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// The error names the valid forms. It never repeats the text, which may contain a password.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let known = ["redis", "valkey", "rediss", "valkeys"];
        let layout = scheme.split_once('-').map_or((scheme, ""), |(base, layout)| (base, layout));
        if !known.contains(&layout.0) || !["", "sentinel", "cluster"].contains(&layout.1) {
            return Err(InvalidInput(FORM.into()));
        }
        check_options(text, layout.1)?;
        let config = Config::from_url(text).map_err(|_| InvalidInput(FORM.into()))?;
        let hosts = match &config.server {
            ServerConfig::Centralized { server } => list(std::slice::from_ref(server)),
            ServerConfig::Clustered { hosts, .. } => list(hosts),
            ServerConfig::Sentinel { hosts, service_name, .. } => format!("{} ({service_name})", list(hosts)),
        };
        Ok(Self { whole: SecretString::new(text), shown: format!("{scheme}://{hosts}") })
    }

    /// The address as the client library takes it.
    pub(crate) fn config(&self) -> Config {
        Config::from_url(self.whole.expose()).expect("it was parsed before")
    }
}

/// The options of each layout. The library would ignore others.
fn options_of(layout: &str) -> &'static [&'static str] {
    match layout {
        "sentinel" => &["node", "sentinelServiceName", "sentinelUsername", "sentinelPassword"],
        "cluster" => &["node"],
        _ => &[],
    }
}

/// What to write in place of options of other programs, in lower case.
const ADVICE: [(&str, &str); 9] = [
    ("ssl", "begin the address with rediss:// for TLS"),
    ("tls", "begin the address with rediss:// for TLS"),
    (
        "ssl_cert_reqs",
        "rediss:// always checks the certificate: remove it, and set redis.authorities for a private one",
    ),
    ("ssl_ca_certs", "set redis.authorities"),
    ("db", "write the number of the database as the path: redis://host:6379/1"),
    ("password", "write it in front of the host: redis://user:password@host:6379/0"),
    ("timeout", "set redis.connect_timeout"),
    ("connect_timeout", "set redis.connect_timeout"),
    ("keyprefix", "set redis.prefix"),
];

/// Refuses options that would have no effect, by their names. It repeats no value.
fn check_options(text: &str, layout: &str) -> Result<(), InvalidInput> {
    let Ok(url) = ::url::Url::parse(text) else { return Err(InvalidInput(FORM.into())) };
    if url.fragment().is_some() {
        return Err(InvalidInput("# is not part of an address: write %23 in a password".into()));
    }
    if layout == "cluster" && !matches!(url.path(), "" | "/") {
        return Err(InvalidInput("a cluster has one database: remove the path of the address".into()));
    }
    if url.query().is_some_and(|query| query.split('&').any(|option| !option.contains('='))) {
        return Err(InvalidInput("write each option as name=value; & in a value is written as %26".into()));
    }
    let known = options_of(layout);
    let mut problems = Vec::new();
    let mut seen = Vec::new();
    for (name, _) in url.query_pairs() {
        let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
        if !known.contains(&&*name) {
            let advice = ADVICE.iter().find(|(other, _)| name.eq_ignore_ascii_case(other)).map(|(_, advice)| *advice);
            let near = did_you_mean(&name, known.iter().copied());
            problems.push(match (advice, near, known) {
                (_, Some(near), _) => format!("`{shown}` is not an option: did you mean `{near}`?"),
                (Some(advice), ..) => format!("`{shown}` is not an option here: {advice}"),
                (.., []) => format!("`{shown}` is not an option: an address of a single server has none"),
                _ => format!("`{shown}` is not an option: the options are {}", known.join(", ")),
            });
        } else if name != "node" && seen.contains(&name) {
            problems.push(format!("`{shown}` is written twice"));
        }
        seen.push(name);
    }
    if problems.is_empty() { Ok(()) } else { Err(InvalidInput(problems.join("; "))) }
}

fn list(servers: &[Server]) -> String {
    let mut shown: Vec<String> = servers.iter().map(|server| format!("{}:{}", server.host, server.port)).collect();
    shown.sort_unstable();
    shown.join(",")
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_47_an_address_is_shown_without_user_and_password() {
        for (text, shown) in [
            ("redis://ada:hunter2@cache.example:6380/3", "redis://cache.example:6380"),
            ("rediss://:hunter2@cache.example", "rediss://cache.example:6379"),
            ("valkey://cache.example", "valkey://cache.example:6379"),
            ("redis-cluster://ada:hunter2@a:7000?node=b:7001", "redis-cluster://a:7000,b:7001"),
            (
                "redis-sentinel://ada:hunter2@a:26379?node=b:26380&sentinelServiceName=main&sentinelPassword=hunter2",
                "redis-sentinel://a:26379,b:26380 (main)",
            ),
        ] {
            let url = RedisUrl::parse(text).expect("valid");
            assert_eq!((format!("{url}"), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
        }
    }

    #[test]
    fn sr_47_an_unknown_option_is_named_without_its_value() {
        for (text, said) in [
            ("redis://cache?ssl=hunter2", "rediss://"),
            ("redis://cache/0?db=hunter2", "redis://host:6379/1"),
            ("redis://cache?node=hunter2", "an address of a single server has none"),
            ("redis-cluster://a?nodes=hunter2", "did you mean `node`?"),
            ("redis-cluster://a/3", "remove the path"),
            ("redis-sentinel://a?sentinelServiceName=x&sentinelPasword=hunter2", "did you mean `sentinelPassword`?"),
            ("redis-sentinel://a?sentinelServiceName=x&sentinelServiceName=y", "written twice"),
            ("redis-sentinel://a?sentinelPassword=x&hunter2", "name=value"),
            ("redis://cache#hunter2", "%23"),
        ] {
            let refused = RedisUrl::parse(text).expect_err(text).to_string();
            assert!(refused.contains(said) && !refused.contains("hunter2"), "{text}: {refused}");
        }
    }

    #[test]
    fn a_bad_address_is_refused_without_repeating_it() {
        for bad in [
            "",
            "cache:6379",
            "http://ada:hunter2@cache",
            "redis://ada:hunter2@cache:port",
            "redis+unix:///tmp/hunter2",
            "redis-sentinel://ada:hunter2@cache",
            "redis-ring://ada:hunter2@cache",
        ] {
            let message = RedisUrl::parse(bad).expect_err(bad).to_string();
            assert!(message.contains("rediss://") && !message.contains("hunter2"), "{message}");
        }
    }
}

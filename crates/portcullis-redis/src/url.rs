//! `REDIS_URL`: the address and layout (one server, Sentinel or cluster).

use std::fmt;

use fred::types::config::{Config, Server, ServerConfig};
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

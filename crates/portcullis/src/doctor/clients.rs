//! Whether the gateway knows its clients apart: behind a proxy that is not trusted, all of them have the proxy's address, and
//! share its rate limits.

use std::net::IpAddr;

use portcullis_model::Finding;
use portcullis_model::policy::Environment;
use portcullis_settings::Settings;
use portcullis_storage::{ClientAddresses, StoreError};

const CHECK: &str = "clients.addresses";
/// So many users do not share one address by chance.
const MANY_USERS: u64 = 5;
const ADD_PROXY: &str = "add the address of the proxy to server.trusted_proxies, and have it send X-Forwarded-For";

/// What the settings say about proxies.
pub(super) struct Expected {
    is_production: bool,
    /// Users type https, which the gateway does not speak.
    is_behind_tls: bool,
    trusts_proxies: bool,
}

impl Expected {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            is_production: settings.environment == Environment::Production,
            is_behind_tls: settings.server.public_url.as_ref().is_some_and(|url| url.scheme() == "https"),
            trusts_proxies: !settings.server.trusted_proxies.is_empty(),
        }
    }

    /// Judges the addresses of the last sign-ins.
    pub(super) fn judge(&self, found: Result<ClientAddresses, StoreError>) -> Finding {
        let ClientAddresses { users, addresses, address } = match found {
            Ok(found) => found,
            Err(error) => return Finding::error(CHECK, &error, Some("the log of the database says more".to_owned())),
        };
        let address = address.unwrap_or_default();
        let is_local = address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let are_one = addresses == 1 && users >= MANY_USERS && (self.is_production || !is_local);
        match () {
            () if are_one && self.trusts_proxies => Finding::warn(
                CHECK,
                format!("the last {users} users that signed in all came from {address}"),
                "have the proxies in server.trusted_proxies send X-Forwarded-For, and add those that are missing",
            ),
            () if are_one => Finding::warn(
                CHECK,
                format!("the last {users} users that signed in all came from {address}"),
                ADD_PROXY,
            ),
            () if self.is_behind_tls && !self.trusts_proxies && addresses <= 1 => Finding::warn(
                CHECK,
                "PUBLIC_URL is https, so a proxy stands in front, and server.trusted_proxies is empty",
                ADD_PROXY,
            ),
            () => {
                Finding::pass(CHECK, format!("the last {users} users that signed in came from {addresses} addresses"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::finding::Status;

    use super::*;

    fn judged(expected: &Expected, users: u64, addresses: u64, address: &str) -> Status {
        expected.judge(Ok(ClientAddresses { users, addresses, address: Some(address.to_owned()) })).status
    }

    #[test]
    fn many_users_of_one_address_are_behind_a_proxy() {
        let production = Expected { is_production: true, is_behind_tls: false, trusts_proxies: false };
        assert_eq!(judged(&production, 5, 1, "10.0.0.7"), Status::Warn);
        assert_eq!(judged(&production, 5, 1, "127.0.0.1"), Status::Warn);
        assert_eq!(judged(&production, 4, 1, "10.0.0.7"), Status::Pass, "a few may share an office");
        assert_eq!(judged(&production, 50, 2, "10.0.0.7"), Status::Pass);
        let development = Expected { is_production: false, ..production };
        assert_eq!(judged(&development, 5, 1, "127.0.0.1"), Status::Pass, "one machine with test users");
    }

    #[test]
    fn https_without_a_trusted_proxy_is_a_warning() {
        let behind = Expected { is_production: true, is_behind_tls: true, trusts_proxies: false };
        assert_eq!(judged(&behind, 0, 0, ""), Status::Warn);
        assert_eq!(judged(&behind, 9, 5, "203.0.113.7"), Status::Pass, "the PROXY protocol may tell the addresses");
        let trusting = Expected { trusts_proxies: true, ..behind };
        assert_eq!(judged(&trusting, 0, 0, ""), Status::Pass);
    }
}

//! What a rate limit counts requests by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use portcullis_model::secret::sha256;
use portcullis_model::{Limit, LimitBy, Role, SessionId, UserId};

use crate::credential::{Credential, CredentialKind};

/// The key under which a rate limit counts a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitKey {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The /64 of an IPv6 address, which is what a provider assigns to one customer.
    V6([u8; 8]),
    /// A user, in all of their sessions together.
    User(UserId),
    /// An API key.
    ApiKey(SessionId),
    /// All callers of one role together, or all callers without a role.
    Role(Option<Role>),
    /// All callers together.
    Everybody,
    /// The first 16 bytes of the SHA-256 of a header's value.
    Header([u8; 16]),
}

impl RateLimitKey {
    /// Returns the key of an address. An IPv4 address that is mapped into IPv6 counts as IPv4.
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let octets = v6.octets();
                Self::V6(octets[..8].try_into().expect("eight of sixteen"))
            }
        }
    }

    /// Returns the key under which `limit` counts this request, or `None` when it does not count it.
    pub(crate) fn of(limit: &Limit, client: IpAddr, headers: &HeaderMap, credential: &Credential) -> Option<Self> {
        let address = || Self::address(client);
        let principal = credential.principal();
        Some(match &limit.by {
            LimitBy::Address => address(),
            LimitBy::Caller => match principal {
                Some(principal) if principal.kind == CredentialKind::ApiKey => Self::ApiKey(principal.session.id),
                Some(principal) => Self::User(principal.session.user_id),
                None => address(),
            },
            LimitBy::ApiKey => {
                Self::ApiKey(principal.filter(|principal| principal.kind == CredentialKind::ApiKey)?.session.id)
            }
            LimitBy::Role => Self::Role(principal.map(|principal| principal.session.role)),
            LimitBy::Everybody => Self::Everybody,
            LimitBy::Header(name) => headers.get(&**name).map_or_else(address, |value| {
                let digest = sha256(value.as_bytes());
                Self::Header(digest[..16].try_into().expect("16 of 32"))
            }),
        })
    }

    /// Returns the id of a rule and the key as bytes. One step of a hasher takes them, which costs half of deriving `Hash`.
    pub(crate) fn bytes_with(self, rule: u64) -> [u8; 25] {
        let mut bytes = [0; 25];
        bytes[..8].copy_from_slice(&rule.to_le_bytes());
        let (kind, value): (u8, &[u8]) = match &self {
            Self::V4(octets) => (1, octets),
            Self::V6(prefix) => (2, prefix),
            Self::User(user) => (3, user.0.as_bytes()),
            Self::ApiKey(key) => (4, key.0.as_bytes()),
            Self::Role(None) => (5, &[]),
            Self::Role(Some(role)) => (5, &[*role as u8 + 1]),
            Self::Everybody => (6, &[]),
            Self::Header(digest) => (7, digest),
        };
        bytes[8] = kind;
        bytes[9..9 + value.len()].copy_from_slice(value);
        bytes
    }

    /// Whether a limit counts keys of this kind.
    pub(crate) fn is_counted_by(self, limit: &Limit) -> bool {
        match self {
            Self::V4(_) | Self::V6(_) => {
                matches!(limit.by, LimitBy::Address | LimitBy::Caller | LimitBy::Header(_))
            }
            Self::User(_) => limit.by == LimitBy::Caller,
            Self::ApiKey(_) => matches!(limit.by, LimitBy::Caller | LimitBy::ApiKey),
            Self::Role(_) => limit.by == LimitBy::Role,
            Self::Everybody => limit.by == LimitBy::Everybody,
            Self::Header(_) => matches!(limit.by, LimitBy::Header(_)),
        }
    }

    /// Returns the key in words, for operators and the audit log: `203.0.113.5`, `user <id>`, `API key <id>`.
    pub fn describe(self) -> String {
        match self {
            Self::User(user) => format!("user {user}"),
            Self::ApiKey(key) => format!("API key {key}"),
            key => key.to_string(),
        }
    }
}

/// The name of the key in Redis: the same text on every replica and in every version.
impl fmt::Display for RateLimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(octets) => write!(f, "{}", Ipv4Addr::from(*octets)),
            Self::V6(prefix) => {
                let mut octets = [0; 16];
                octets[..8].copy_from_slice(prefix);
                write!(f, "{}/64", Ipv6Addr::from(octets))
            }
            Self::User(user) => write!(f, "{user}"),
            Self::ApiKey(key) => write!(f, "key:{key}"),
            Self::Role(role) => write!(f, "role:{}", role.map_or("-", Role::as_str)),
            Self::Everybody => f.write_str("everybody"),
            Self::Header(digest) => write!(f, "header:{}", hex::encode(digest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_same_name_on_every_replica() {
        let name = |text: &str| RateLimitKey::address(text.parse().expect("an address")).to_string();
        assert_eq!(name("203.0.113.5"), "203.0.113.5");
        assert_eq!(name("2001:db8:1:2:3::4"), "2001:db8:1:2::/64");
        assert_eq!(RateLimitKey::Role(Some(Role::Admin)).to_string(), "role:ADMIN");
    }

    #[test]
    fn keys_and_rules_differ_in_their_bytes() {
        let session = portcullis_testkit::session().build();
        let keys = [
            RateLimitKey::V4([7; 4]),
            RateLimitKey::V6([7; 8]),
            RateLimitKey::User(session.user_id),
            RateLimitKey::ApiKey(session.id),
            RateLimitKey::Role(None),
            RateLimitKey::Role(Some(Role::Viewer)),
            RateLimitKey::Role(Some(Role::Tester)),
            RateLimitKey::Everybody,
            RateLimitKey::Header([7; 16]),
        ];
        let bytes: std::collections::HashSet<_> =
            [1, 2].into_iter().flat_map(|rule| keys.map(|key| key.bytes_with(rule))).collect();
        assert_eq!(bytes.len(), 2 * keys.len());
    }
}

//! Whom a limit counts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use portcullis_model::secret::sha256;
use portcullis_model::{Limit, LimitBy, Role, SessionId, UserId};

use crate::credential::{Credential, Via};

/// One of those whom a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    V4([u8; 4]),
    /// The /64 of an address: what one customer is given.
    V6([u8; 8]),
    User(UserId),
    /// An API key.
    Key(SessionId),
    /// Everybody of a role, or everybody without one.
    Role(Option<Role>),
    Everybody,
    /// The beginning of the SHA-256 of what a header said.
    Header([u8; 16]),
}

impl Subject {
    pub(crate) fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let octets = v6.octets();
                Self::V6(octets[..8].try_into().expect("eight of sixteen"))
            }
        }
    }

    /// Whom `limit` counts this request for; `None` when it does not count it.
    pub(crate) fn of(limit: &Limit, client: IpAddr, headers: &HeaderMap, credential: &Credential) -> Option<Self> {
        let address = || Self::address(client);
        let principal = match credential {
            Credential::Good(principal) => Some(principal),
            Credential::None | Credential::Two | Credential::Bad | Credential::Unknown => None,
        };
        Some(match &limit.by {
            LimitBy::Address => address(),
            LimitBy::Caller => match principal {
                Some(principal) if principal.via == Via::ApiKey => Self::Key(principal.session.id),
                Some(principal) => Self::User(principal.session.user_id),
                None => address(),
            },
            LimitBy::ApiKey => Self::Key(principal.filter(|principal| principal.via == Via::ApiKey)?.session.id),
            LimitBy::Role => Self::Role(principal.map(|principal| principal.session.role)),
            LimitBy::Everybody => Self::Everybody,
            LimitBy::Header(name) => headers.get(&**name).map_or_else(address, |value| {
                let digest = sha256(value.as_bytes());
                Self::Header(digest[..16].try_into().expect("16 of 32"))
            }),
        })
    }
}

/// The same text on every replica.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(octets) => write!(f, "{}", Ipv4Addr::from(*octets)),
            Self::V6(prefix) => {
                let mut octets = [0; 16];
                octets[..8].copy_from_slice(prefix);
                write!(f, "{}/64", Ipv6Addr::from(octets))
            }
            Self::User(user) => write!(f, "{user}"),
            Self::Key(key) => write!(f, "key:{key}"),
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
    fn subjects_have_one_name_on_every_replica() {
        let subject = |text: &str| Subject::address(text.parse().expect("an address")).to_string();
        assert_eq!(subject("203.0.113.5"), "203.0.113.5");
        assert_eq!(subject("2001:db8:1:2:3::4"), "2001:db8:1:2::/64");
        assert_eq!(Subject::Role(Some(Role::Admin)).to_string(), "role:ADMIN");
    }
}

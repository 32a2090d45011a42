//! How long Vault's token is good for.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::VaultError;
use super::answer::{json, reason, unwilling};
use crate::client::Answer;

/// The shortest time after which a token is looked at again.
const SHORTEST_LOOK: Duration = Duration::from_secs(5);

/// How long a token is good for. A token whose `ttl` is 0 does not end.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct TokenState {
    /// The seconds that are left.
    ttl: u64,
    /// The seconds that it had when it was made or last renewed.
    #[serde(default)]
    creation_ttl: u64,
    #[serde(default)]
    renewable: bool,
}

impl TokenState {
    /// The time that is left; `None` if it does not end.
    pub(crate) fn left(self) -> Option<Duration> {
        (self.ttl > 0).then(|| Duration::from_secs(self.ttl))
    }

    pub(crate) fn is_renewable(self) -> bool {
        self.renewable
    }

    pub(super) fn wants_renewal(self) -> bool {
        self.renewable && self.ttl > 0 && self.ttl <= self.creation_ttl.div_ceil(2)
    }

    /// Within what time the token must be looked at again, so that it is renewed before it ends.
    pub(super) fn next_look(self) -> Option<Duration> {
        self.left().filter(|_| self.renewable).map(|left| (left / 3).max(SHORTEST_LOOK))
    }
}

/// Reads the answer to `lookup-self`.
pub(super) fn state(answer: &Answer) -> Result<TokenState, VaultError> {
    #[derive(Deserialize)]
    struct Lookup {
        data: TokenState,
    }
    let body = json(answer)?;
    if answer.status != StatusCode::OK {
        return Err(unwilling(answer, &body));
    }
    let lookup = Lookup::deserialize(&body).map_err(|_| VaultError::NotVault { status: answer.status.as_u16() });
    lookup.map(|lookup| lookup.data)
}

/// Reads the answer to `renew-self`.
pub(super) fn renewed(answer: &Answer) -> Result<TokenState, VaultError> {
    #[derive(Deserialize)]
    struct Renewal {
        auth: Auth,
    }
    #[derive(Deserialize)]
    struct Auth {
        lease_duration: u64,
        renewable: bool,
    }
    let body = json(answer)?;
    match answer.status {
        StatusCode::OK => {
            let renewal = Renewal::deserialize(&body);
            let Renewal { auth } = renewal.map_err(|_| VaultError::NotVault { status: answer.status.as_u16() })?;
            Ok(TokenState { ttl: auth.lease_duration, creation_ttl: auth.lease_duration, renewable: auth.renewable })
        }
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => Err(VaultError::NotRenewed { reason: reason(&body) }),
        _ => Err(unwilling(answer, &body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(ttl: u64, creation_ttl: u64, renewable: bool) -> TokenState {
        TokenState { ttl, creation_ttl, renewable }
    }

    #[test]
    fn a_token_is_renewed_when_half_of_its_life_is_over() {
        assert!(!token(61, 120, true).wants_renewal());
        assert!(token(60, 120, true).wants_renewal());
        assert!(!token(1, 120, false).wants_renewal(), "it cannot be renewed");
        assert!(!token(0, 0, true).wants_renewal(), "it does not end");
    }

    #[test]
    fn a_short_token_is_looked_at_before_it_ends() {
        assert_eq!(token(120, 120, true).next_look(), Some(Duration::from_secs(40)));
        assert_eq!(token(6, 120, true).next_look(), Some(SHORTEST_LOOK));
        assert_eq!(token(120, 120, false).next_look(), None);
        assert_eq!(token(0, 0, true).next_look(), None);
    }
}

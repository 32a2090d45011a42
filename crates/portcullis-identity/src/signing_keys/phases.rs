//! The life of a signing key, from its announcement to its retirement.

use std::time::Duration;

use portcullis_model::Timestamp;
use portcullis_storage::SigningKey;

/// The phase of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPhase {
    /// The key is published and will sign.
    Next,
    /// The key signs new tokens.
    Signing,
    /// A newer key signs; tokens of this key may still be valid.
    Checking,
    /// Every token of this key has expired.
    Spent,
    /// Tokens of this key are refused.
    Retired,
}

impl KeyPhase {
    /// The name in the output of commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Checking => "checking",
            Self::Spent => "spent",
            Self::Retired => "retired",
        }
    }
}

/// A signing key as operators see it, without its private half.
#[derive(Clone, Debug)]
pub struct KeyDetails {
    /// Its `kid` in token headers and in the JWKS.
    pub kid: String,
    /// The algorithm of its signatures.
    pub algorithm: String,
    /// Its phase at the time of the query.
    pub phase: KeyPhase,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it starts to sign.
    pub signs_from: Timestamp,
    /// When its last token expires; `None` while it signs or will sign.
    pub spent_at: Option<Timestamp>,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
}

/// Derives the phase of each key from the keys, which are ordered newest first.
pub(super) fn details(keys: &[SigningKey], now: Timestamp, access_ttl: Duration) -> Vec<KeyDetails> {
    let mut all = Vec::with_capacity(keys.len());
    // When a newer key starts to sign, so that this one stops.
    let mut successor: Option<Timestamp> = None;
    for key in keys {
        let spent_at = successor.map(|from| from.max(key.created_at) + access_ttl);
        let phase = match (key.retired_at, successor) {
            (Some(_), _) => KeyPhase::Retired,
            (None, _) if key.signs_from > now => KeyPhase::Next,
            (None, Some(from)) if from <= now => {
                if spent_at.is_some_and(|at| at <= now) {
                    KeyPhase::Spent
                } else {
                    KeyPhase::Checking
                }
            }
            (None, _) => KeyPhase::Signing,
        };
        if key.retired_at.is_none() {
            successor = Some(key.signs_from);
        }
        all.push(KeyDetails {
            kid: key.kid.clone(),
            algorithm: key.algorithm.clone(),
            phase,
            created_at: key.created_at,
            signs_from: key.signs_from,
            spent_at,
            retired_at: key.retired_at,
        });
    }
    all
}

//! Comparing scrypt hashes (RFC 7914) in the formats of PHC and passlib.

use ::scrypt::Params;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use portcullis_model::secret::constant_time_eq;

use crate::hashing::notation::{HashRefused, LEAST_HASH, parameters};

/// The largest accepted binary logarithm of N (SR-08).
const MAX_LOG_N: u32 = 17;
/// The largest accepted N·r·p, which takes about a second. Memory, 128·N·r bytes, is then at most 256 MiB.
const MAX_WORK: u64 = 1 << 21;

/// A stored hash within the accepted cost.
pub(crate) struct ScryptHash {
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl ScryptHash {
    /// Parses `$scrypt$ln=16,r=8,p=1$salt$hash`.
    pub(crate) fn parse(stored: &str) -> Result<Self, HashRefused> {
        let ([log_n, r, p], salt, hash) = Self::split(stored).ok_or(HashRefused::Unknown)?;
        let affordable = log_n <= MAX_LOG_N
            && (u64::from(r) << log_n).checked_mul(u64::from(p)).is_some_and(|work| work <= MAX_WORK);
        if !affordable {
            return Err(HashRefused::TooExpensive);
        }
        let log_n = u8::try_from(log_n).expect("it is 17 at most");
        let params = Params::new(log_n, r, p).map_err(|_| HashRefused::Unknown)?;
        Ok(Self { params, salt, hash })
    }

    fn split(stored: &str) -> Option<([u32; 3], Vec<u8>, Vec<u8>)> {
        let mut parts = stored.strip_prefix("$scrypt$")?.split('$');
        let (Some(cost), Some(salt), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let [log_n, r, p] = parameters(cost, ["ln", "r", "p"])?;
        let (log_n, r, p) = (log_n?, r?, p?);
        let salt = STANDARD_NO_PAD.decode(salt).ok()?;
        let hash = STANDARD_NO_PAD.decode(hash).ok()?;
        (log_n >= 1 && r >= 1 && p >= 1 && hash.len() >= LEAST_HASH).then_some(([log_n, r, p], salt, hash))
    }

    pub(crate) fn matches(&self, password: &str) -> bool {
        let mut out = vec![0u8; self.hash.len()];
        ::scrypt::scrypt(password.as_bytes(), &self.salt, &self.params, &mut out).expect("the length is no extreme");
        constant_time_eq(&out, &self.hash)
    }
}

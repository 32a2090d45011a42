//! Argon2: makes hashes of today's variant and cost and compares those of any other, in memory that is reused.

use ::argon2::password_hash::phc::PasswordHash;
use ::argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use portcullis_model::SecretString;
use portcullis_model::secret::constant_time_eq;

use crate::hashing::notation::{HashRefused, LEAST_HASH};

/// Memory of a new hash, in KiB.
const MEMORY_KIB: u32 = 19_456;
const ITERATIONS: u32 = 2;
const LANES: u32 = 1;
/// Length of a new salt, in bytes.
pub(crate) const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// The shortest salt that argon2 accepts, in bytes (RFC 9106 §3.1).
const LEAST_SALT: usize = 8;
/// The accepted cost of a stored hash (SR-08): memory in KiB and the number of passes.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_ITERATIONS: u32 = 10;
/// The accepted product of KiB and passes, which takes about two seconds of one core.
const MAX_WORK_KIB: u64 = 2 << 20;

/// The working memory of one thread, reused between hashes.
#[derive(Default)]
pub(crate) struct Memory(Vec<Block>);

/// A stored hash within the accepted cost.
pub(crate) struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Memory {
    /// Hashes at today's cost.
    pub(crate) fn hash(&mut self, password: &str, salt: &[u8]) -> [u8; HASH_BYTES] {
        let mut out = [0u8; HASH_BYTES];
        self.fill(password, salt, (Algorithm::Argon2id, Version::V0x13, &params()), &mut out);
        out
    }

    fn fill(&mut self, password: &str, salt: &[u8], how: (Algorithm, Version, &Params), out: &mut [u8]) {
        let (algorithm, version, params) = how;
        let blocks = params.block_count();
        if self.0.len() < blocks {
            self.0.resize(blocks, Block::default());
        }
        Argon2::new(algorithm, version, params.clone())
            .hash_password_into_with_memory(password.as_bytes(), salt, out, &mut self.0[..blocks])
            .expect("lengths and cost were checked");
        // Memory beyond that of a new hash is released, so that an expensive imported hash does not keep it.
        if blocks > params_blocks() {
            self.0 = Vec::new();
        }
    }
}

impl Argon2Hash {
    /// Parses a PHC string with or without a version; version 1.0 wrote none (RFC 9106).
    pub(crate) fn parse(stored: &str) -> Result<Self, HashRefused> {
        let phc = PasswordHash::new(stored).map_err(|_| HashRefused::Unknown)?;
        let algorithm = phc.algorithm.as_str().parse::<Algorithm>().map_err(|_| HashRefused::Unknown)?;
        let version = match phc.version {
            None => Version::V0x10,
            Some(number) => Version::try_from(number).map_err(|_| HashRefused::Unknown)?,
        };
        let params = Params::try_from(&phc).map_err(|_| HashRefused::Unknown)?;
        let (m, t) = (params.m_cost(), params.t_cost());
        if m > MAX_MEMORY_KIB || t > MAX_ITERATIONS || u64::from(m) * u64::from(t) > MAX_WORK_KIB {
            return Err(HashRefused::TooExpensive);
        }
        // A hash made with a secret key or associated data cannot be compared without them.
        let keyed = !params.keyid().is_empty() || !params.data().is_empty();
        let salt = phc.salt.map_or_else(Vec::new, |salt| salt.as_ref().to_vec());
        let hash = phc.hash.map_or_else(Vec::new, |hash| hash.as_bytes().to_vec());
        if keyed || salt.len() < LEAST_SALT || hash.len() < LEAST_HASH {
            return Err(HashRefused::Unknown);
        }
        Ok(Self { algorithm, version, params, salt, hash })
    }

    pub(crate) fn matches(&self, password: &str, memory: &mut Memory) -> bool {
        let mut out = vec![0u8; self.hash.len()];
        memory.fill(password, &self.salt, (self.algorithm, self.version, &self.params), &mut out);
        constant_time_eq(&out, &self.hash)
    }

    /// Whether variant, version, cost or length differ from those of a new hash.
    pub(crate) fn is_outdated(&self) -> bool {
        let cost = (self.params.m_cost(), self.params.t_cost(), self.params.p_cost());
        cost != (MEMORY_KIB, ITERATIONS, LANES)
            || self.algorithm != Algorithm::Argon2id
            || self.version != Version::V0x13
            || self.hash.len() != HASH_BYTES
    }
}

/// The PHC string of a new hash.
pub(crate) fn phc(salt: &[u8], hash: &[u8]) -> SecretString {
    SecretString::new(format!(
        "$argon2id$v=19$m={MEMORY_KIB},t={ITERATIONS},p={LANES}${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash)
    ))
}

fn params() -> Params {
    Params::new(MEMORY_KIB, ITERATIONS, LANES, Some(HASH_BYTES)).expect("the cost is within argon2's limits")
}

fn params_blocks() -> usize {
    MEMORY_KIB as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT_AND_HASH: &str = "MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

    #[test]
    fn sr_08_a_hash_beyond_the_accepted_cost_is_never_computed() {
        for cost in ["m=2097152,t=1", "m=19456,t=11", "m=1048576,t=3"] {
            let refused = Argon2Hash::parse(&format!("$argon2id$v=19${cost},p=1${SALT_AND_HASH}"));
            assert_eq!(refused.err(), Some(HashRefused::TooExpensive), "{cost}");
        }
        for cost in ["m=1048576,t=2", "m=65536,t=10"] {
            assert!(Argon2Hash::parse(&format!("$argon2id$v=19${cost},p=4${SALT_AND_HASH}")).is_ok(), "{cost}");
        }
    }

    #[test]
    fn what_argon2_would_not_take_is_refused_before_it_is_tried() {
        let fine = format!("$argon2id$v=19$m=64,t=1,p=1${SALT_AND_HASH}");
        assert!(Argon2Hash::parse(&fine).is_ok());
        for bad in [
            "$argon2id$v=19$m=64,t=1,p=1".to_owned(),
            "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg".to_owned(),
            "$argon2id$v=19$m=64,t=1,p=1$MDEy$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY".to_owned(),
            "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFi".to_owned(),
            fine.replace("v=19", "v=18"),
            fine.replace("p=1", "p=1,keyid=Zm9v"),
            fine.replace("argon2id", "argon2"),
        ] {
            assert_eq!(Argon2Hash::parse(&bad).err(), Some(HashRefused::Unknown), "{bad}");
        }
    }

    #[test]
    fn sr_07_another_variant_version_or_length_is_outdated() {
        let ours = format!("$argon2id$v=19$m=19456,t=2,p=1${SALT_AND_HASH}");
        let outdated = |text: &str| Argon2Hash::parse(text).map(|hash| hash.is_outdated());
        assert_eq!(outdated(&ours), Ok(false));
        for older in [
            ours.replace("argon2id", "argon2i"),
            ours.replace("$v=19", ""),
            ours.replace("m=19456", "m=65536"),
            ours.replace("t=2", "t=1"),
            "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg".to_owned(),
        ] {
            assert_eq!(outdated(&older), Ok(true), "{older}");
        }
    }

    #[test]
    fn memory_is_reused_and_released_after_an_expensive_hash() {
        let mut memory = Memory::default();
        assert_eq!(memory.0.capacity(), 0);
        memory.hash("one", b"0123456789abcdef");
        let (blocks, place) = (memory.0.capacity(), memory.0.as_ptr());
        assert_eq!(blocks, params_blocks());
        memory.hash("two", b"0123456789abcdef");
        assert_eq!((memory.0.capacity(), memory.0.as_ptr()), (blocks, place));
        let expensive = format!("$argon2id$v=19$m={},t=1,p=1${SALT_AND_HASH}", 2 * MEMORY_KIB);
        assert!(!Argon2Hash::parse(&expensive).expect("within the cost").matches("three", &mut memory));
        assert_eq!(memory.0.capacity(), 0);
    }
}

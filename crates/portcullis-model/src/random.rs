//! Randomness as a parameter. The one source is the operating system's, through AWS-LC.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// The cryptographically secure source of every token, salt and id.
#[derive(Clone, Debug, Default)]
pub struct Random {
    source: SystemRandom,
}

impl Random {
    /// The random generator of the operating system.
    pub fn system() -> Self {
        Self::default()
    }

    /// Returns `N` new random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0u8; N];
        self.fill(&mut out);
        out
    }

    /// Fills a buffer with random bytes.
    pub fn fill(&self, out: &mut [u8]) {
        self.source.fill(out).expect("the operating system's random source does not fail once the kernel has booted");
    }

    /// Returns `N` new random bytes in lower-case hexadecimal, which are 2·N characters.
    pub fn hex<const N: usize>(&self) -> String {
        hex::encode(self.bytes::<N>())
    }
}

//! The bare argon2id loop that the benchmark holds logins against: the cost of
//! stored passwords, memory reused, one thread. Prints CPU milliseconds a hash.
#![expect(clippy::print_stdout, reason = "its output is the measurement")]

use argon2::{Algorithm, Argon2, Block, Params, Version};

fn main() {
    let rounds: u32 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    let params = Params::new(19_456, 2, 1, Some(32)).expect("valid");
    let mut memory = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut out = [0u8; 32];
    let begin = cpu();
    for n in 0..rounds {
        let salt = n.to_le_bytes().repeat(4);
        argon2
            .hash_password_into_with_memory(b"correct horse battery staple", &salt, &mut out, &mut memory)
            .expect("lengths are valid");
    }
    println!("{:.4}", (cpu() - begin) * 1e3 / f64::from(rounds));
}

/// CPU time of this thread, in seconds.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

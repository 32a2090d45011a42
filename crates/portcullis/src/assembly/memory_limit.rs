//! The memory limit of the process (cgroups), and how many threads hash passwords within it: a container with little memory
//! must not be ended by the kernel at its first sign-ins.

use std::path::Path;

use portcullis_doctor::group_memory;

/// What the process may need beside the hashing threads, in bytes. At rest it has 16 MB (docs/benchmarks.md).
const WITHOUT_HASHING: u64 = 32 << 20;
/// What a hashing thread keeps after its first use, in bytes: the memory of argon2id.
const HASHING_THREAD: u64 = 19 << 20;

/// Returns how many threads hash passwords: as many as are configured, else one per core, or fewer if the memory limit has
/// room for no more. Warns if the limit is why there are fewer, or if it is too low.
pub(super) fn hash_threads(configured: Option<usize>, cores: usize) -> usize {
    let limit = group_memory(Path::new("/")).map(|memory| memory.limit);
    let threads = configured.unwrap_or_else(|| cores.min(room_for(limit)));
    let limit_mib = limit.map(|limit| limit >> 20);
    if limit.is_some_and(|limit| needed(threads) > limit) {
        let needed_mib = needed(threads) >> 20;
        tracing::warn!(
            limit_mib,
            threads,
            "the memory limit is so low that the kernel may end the process; hint: raise it to {needed_mib} MiB, or lower \
             password.hash_threads"
        );
    } else if configured.is_none() && threads < cores {
        let needed_mib = needed(cores) >> 20;
        tracing::warn!(
            limit_mib,
            threads,
            "fewer threads hash passwords than there are cores, because the memory limit has room for no more; hint: raise \
             it to {needed_mib} MiB, or set password.hash_threads"
        );
    }
    threads
}

/// The memory that the process may need with so many hashing threads, in bytes.
fn needed(threads: usize) -> u64 {
    WITHOUT_HASHING.saturating_add(HASHING_THREAD.saturating_mul(threads as u64))
}

/// The hashing threads that a limit has room for, at least one.
fn room_for(limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return usize::MAX };
    usize::try_from(limit.saturating_sub(WITHOUT_HASHING) / HASHING_THREAD).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn as_many_threads_hash_as_memory_has_room_for() {
        for (limit, threads) in [(None, usize::MAX), (Some(0), 1), (Some(64 * MIB), 1), (Some(128 * MIB), 5)] {
            assert_eq!(room_for(limit), threads, "{limit:?}");
        }
        assert!(needed(1) <= 64 * MIB, "64 MiB are not enough for one thread");
    }
}

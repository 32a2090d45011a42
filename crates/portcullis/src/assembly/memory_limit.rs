//! The memory limit of the process (cgroups), and how many threads hash passwords within it: a container with little memory
//! must not be ended by the kernel at its first sign-ins.

use std::path::Path;

/// What the process may need beside the hashing threads, in bytes. At rest it has 16 MB (docs/benchmarks.md).
const WITHOUT_HASHING: u64 = 32 << 20;
/// What a hashing thread keeps after its first use, in bytes: the memory of argon2id.
const HASHING_THREAD: u64 = 19 << 20;

/// Returns how many threads hash passwords: as many as are configured, else one per core, or fewer if the memory limit has
/// room for no more. Warns if the limit is why there are fewer, or if it is too low.
pub(super) fn hash_threads(configured: Option<usize>, cores: usize) -> usize {
    let limit = read(Path::new("/"));
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

/// Returns the lowest limit of the process's cgroup and those above it, in bytes. `root` is the root of the file system.
fn read(root: &Path) -> Option<u64> {
    let cgroups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    cgroups.lines().filter_map(|line| lowest(root, line)).min()
}

/// Returns the lowest limit on the way of one line of `/proc/self/cgroup`: `0::/path` (version 2) or `N:memory:/path`.
fn lowest(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (folder, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let limit = |group: &Path| {
        let text = std::fs::read_to_string(root.join(folder).join(group).join(file)).ok()?;
        // Without a limit it is `max`.
        text.trim().parse().ok()
    };
    Path::new(path.trim_start_matches('/')).ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Returns the limit in a file system with these files.
    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        read(root.path())
    }

    #[test]
    fn the_lowest_limit_on_the_way_counts() {
        let files = [
            ("proc/self/cgroup", "0::/team/gateway\n"),
            ("sys/fs/cgroup/team/memory.max", "134217728\n"),
            ("sys/fs/cgroup/team/gateway/memory.max", "max\n"),
        ];
        assert_eq!(limit(&files), Some(128 * MIB));
        assert_eq!(limit(&files[..1]), None);
    }

    #[test]
    fn a_container_sees_its_cgroup_as_the_root() {
        let files = [
            ("proc/self/cgroup", "5:cpu,memory:/machine/gateway\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n"),
        ];
        assert_eq!(limit(&files), Some(64 * MIB));
    }

    #[test]
    fn as_many_threads_hash_as_memory_has_room_for() {
        for (limit, threads) in [(None, usize::MAX), (Some(0), 1), (Some(64 * MIB), 1), (Some(128 * MIB), 5)] {
            assert_eq!(room_for(limit), threads, "{limit:?}");
        }
        assert!(needed(1) <= 64 * MIB, "64 MiB are not enough for one thread");
    }
}

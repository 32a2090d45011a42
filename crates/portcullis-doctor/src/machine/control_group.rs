//! The memory limit of the control group (cgroup) that the process runs in.

use std::path::Path;

/// Numbers beyond any memory, which version 1 writes for no limit.
const NO_LIMIT: u64 = 1 << 60;

/// The memory of a control group, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMemory {
    /// The most that it may have.
    pub limit: u64,
    /// What is in use, without what the kernel holds of files and gives back when it is needed.
    pub used: u64,
}

/// Returns the tightest limit among the process's group and those that it is in. `root` is the root of the file system.
pub fn group_memory(root: &Path) -> Option<GroupMemory> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| tightest(root, line)).min_by_key(|memory| memory.limit)
}

/// Returns the tightest limit on the way of one line of `/proc/self/cgroup`: `0::/path` (version 2) or `N:memory:/path`.
fn tightest(root: &Path, line: &str) -> Option<GroupMemory> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (folder, names) = match controllers {
        "" => ("sys/fs/cgroup", ["memory.max", "memory.current"]),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", ["memory.limit_in_bytes", "memory.usage_in_bytes"])
        }
        _ => return None,
    };
    // Within a container the path may be that of the host, and the root is the group's own.
    let groups = Path::new(path.trim_start_matches('/')).ancestors();
    groups.filter_map(|group| of_folder(&root.join(folder).join(group), names)).min_by_key(|memory| memory.limit)
}

fn of_folder(folder: &Path, [limit, usage]: [&str; 2]) -> Option<GroupMemory> {
    let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    // Without a limit, version 2 writes `max`.
    let limit = number(limit).filter(|limit| *limit < NO_LIMIT)?;
    let files = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let files = files.lines().find_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        matches!(name, "inactive_file" | "total_inactive_file").then(|| bytes.parse::<u64>().ok())?
    });
    Some(GroupMemory { limit, used: number(usage).unwrap_or(0).saturating_sub(files.unwrap_or(0)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Returns the memory in a file system with these files.
    fn memory(files: &[(&str, &str)]) -> Option<GroupMemory> {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        group_memory(root.path())
    }

    #[test]
    fn the_tightest_limit_on_the_way_counts() {
        let files = [
            ("proc/self/cgroup", "0::/team/gateway\n"),
            ("sys/fs/cgroup/team/memory.max", "134217728\n"),
            ("sys/fs/cgroup/team/memory.current", "100\n"),
            ("sys/fs/cgroup/team/memory.stat", "anon 60\ninactive_file 40\n"),
            ("sys/fs/cgroup/team/gateway/memory.max", "max\n"),
            ("sys/fs/cgroup/team/gateway/memory.current", "5\n"),
        ];
        assert_eq!(memory(&files), Some(GroupMemory { limit: 128 * MIB, used: 60 }));
        assert_eq!(memory(&files[..1]), None);
    }

    #[test]
    fn a_container_sees_its_group_as_the_root() {
        let mut files = [
            ("proc/self/cgroup", "5:cpu,memory:/machine/gateway\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n"),
        ];
        assert_eq!(memory(&files), Some(GroupMemory { limit: 64 * MIB, used: 0 }));
        files[1].1 = "9223372036854771712\n";
        assert_eq!(memory(&files), None, "version 1 writes no limit as a number");
    }
}

//! Memory: that of the machine, and the limit of the control group (cgroup) that the process runs in.

use std::path::Path;

use portcullis_model::Finding;

const MEMORY: &str = "machine.memory";
/// The least memory, in bytes, with which hashing passwords and full buffers find room.
const LEAST: u64 = 256_000_000;
/// The share in use, in percent, above which the kernel may soon end processes.
const MOST_USED: u64 = 90;

/// How much there is and how much is in use, of the machine or its control group, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    all: u64,
    used: u64,
}

/// Looks at the memory that the gateway can have.
pub fn examine() -> Finding {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let group = read("/proc/self/cgroup").and_then(|groups| of_group(Path::new("/sys/fs/cgroup"), &groups));
    match (group, read("/proc/meminfo").and_then(|text| of_machine(&text))) {
        (Some(group), machine) if machine.is_none_or(|machine| group.all < machine.all) => {
            judge(group, "the control group")
        }
        (_, Some(machine)) => judge(machine, "this machine"),
        (_, None) => Finding::pass(MEMORY, "not known: this system has no /proc/meminfo"),
    }
}

fn judge(memory: Memory, owner: &str) -> Finding {
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let text = format!("{owner} has {} MB, of which {} are in use", megabytes(memory.all), megabytes(memory.used));
    let is_full = memory.used.saturating_mul(100) >= memory.all.saturating_mul(MOST_USED);
    match (memory.all < LEAST, is_full) {
        (false, false) => Finding::pass(MEMORY, text),
        (true, _) => Finding::warn(
            MEMORY,
            format!("{text}; each password that is hashed takes 19 MB"),
            "allow 256 MB or more (resources.limits.memory, MemoryMax=)",
        ),
        (false, true) => {
            Finding::warn(MEMORY, text, "find what uses the memory, or raise the limit (MemoryMax=, limits.memory)")
        }
    }
}

/// `/proc/meminfo`, whose numbers are in KiB.
fn of_machine(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
    };
    let (all, available) = (field("MemTotal")?, field("MemAvailable")?);
    Some(Memory { all, used: all.saturating_sub(available) })
}

/// The tightest limit among the group (a line of `/proc/self/cgroup`) and those that it is in.
fn of_group(root: &Path, groups: &str) -> Option<Memory> {
    let version_2 = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let version_1 = groups.lines().find_map(|line| line.split_once(":memory:").map(|(_, path)| path));
    let (root, path, names) = match (version_1, version_2) {
        (Some(path), _) => (root.join("memory"), path, ["memory.limit_in_bytes", "memory.usage_in_bytes"]),
        (None, Some(path)) => (root.to_owned(), path, ["memory.max", "memory.current"]),
        (None, None) => return None,
    };
    let group = root.join(path.trim_start_matches('/'));
    // Within a container the path may be that of the host, and the root is the group's own.
    let folders = group.ancestors().take_while(|folder| folder.starts_with(&root));
    folders.filter_map(|folder| of_folder(folder, names)).min_by_key(|memory| memory.all)
}

fn of_folder(folder: &Path, [limit, usage]: [&str; 2]) -> Option<Memory> {
    let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    // "max", and in version 1 a number beyond any memory, are no limit.
    let all = number(limit).filter(|limit| *limit < 1 << 60)?;
    let files = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let files = files.lines().find_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        matches!(name, "inactive_file" | "total_inactive_file").then(|| bytes.parse::<u64>().ok())?
    });
    // What the kernel holds of files, it gives back when it is needed.
    Some(Memory { all, used: number(usage)?.saturating_sub(files.unwrap_or(0)) })
}

#[cfg(test)]
mod tests {
    use portcullis_model::finding::Status;

    use super::*;

    const MB: u64 = 1_000_000;

    #[test]
    fn little_memory_and_a_full_one_are_warnings() {
        let status = |all, used| judge(Memory { all: all * MB, used: used * MB }, "x").status;
        assert_eq!(status(1_000, 100), Status::Pass);
        assert_eq!(status(128, 10), Status::Warn);
        assert_eq!(status(1_000, 950), Status::Warn);
    }

    #[test]
    fn the_machine_tells_what_is_available() {
        let text = "MemTotal:        1000 kB\nMemFree:          10 kB\nMemAvailable:     400 kB\n";
        assert_eq!(of_machine(text), Some(Memory { all: 1_024_000, used: 614_400 }));
    }

    #[test]
    fn the_tightest_limit_of_all_groups_counts() {
        let root = tempfile::tempdir().expect("a folder");
        let group = root.path().join("outer/inner");
        std::fs::create_dir_all(&group).expect("writable");
        let write = |folder: &Path, name: &str, text: &str| std::fs::write(folder.join(name), text).expect("writable");
        write(&group, "memory.max", "max\n");
        write(&group, "memory.current", "5\n");
        let outer = root.path().join("outer");
        write(&outer, "memory.max", "500\n");
        write(&outer, "memory.current", "100\n");
        write(&outer, "memory.stat", "anon 60\ninactive_file 40\n");
        assert_eq!(of_group(root.path(), "0::/outer/inner\n"), Some(Memory { all: 500, used: 60 }));
        assert_eq!(of_group(root.path(), "0::/\n"), None);
    }
}

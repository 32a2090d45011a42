//! Memory: that of the machine, or of the control group that the process runs in if that has less.

use std::path::Path;

use portcullis_model::Finding;

use super::control_group::group_memory;

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
    let group = group_memory(Path::new("/")).map(|group| Memory { all: group.limit, used: group.used });
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    match (group, machine) {
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
}

//! What the machine is: system, kernel, processors, memory, limits. Nothing that names a user or holds a secret.

use std::collections::BTreeMap;

/// The files that are quoted, with the most bytes of each.
const FILES: [(&str, usize); 7] = [
    ("/etc/os-release", 2_000),
    ("/proc/version", 500),
    ("/proc/uptime", 100),
    ("/proc/loadavg", 100),
    ("/proc/meminfo", 4_000),
    ("/proc/self/limits", 4_000),
    ("/proc/self/cgroup", 1_000),
];

/// Returns what is known of the machine, by name.
pub fn gather() -> BTreeMap<&'static str, String> {
    let mut facts = BTreeMap::from([
        ("architecture", std::env::consts::ARCH.to_owned()),
        ("os", std::env::consts::OS.to_owned()),
        ("processors", std::thread::available_parallelism().map_or_else(|error| error.to_string(), |n| n.to_string())),
    ]);
    for (path, most) in FILES {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| format!("not readable: {error}"));
        facts.insert(path, text.chars().take(most).collect());
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_told() {
        let facts = gather();
        assert_eq!(facts["os"], std::env::consts::OS);
        assert!(facts["/proc/meminfo"].contains("MemTotal"), "{facts:?}");
    }
}

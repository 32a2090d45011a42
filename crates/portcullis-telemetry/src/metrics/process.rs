//! The `process_*` families, read from `/proc` at each scrape. They are left out where there is no `/proc`.

use std::fs;

use super::text_format as text;

/// Clock ticks in a second. The kernel's ABI fixes the number on every architecture that Portcullis is built for.
const TICKS: f64 = 100.0;

pub(super) fn append(page: &mut String) {
    let Some(stat) = fs::read_to_string("/proc/self/stat").ok() else { return };
    // The command's name is in parentheses and may contain spaces and parentheses: fields count from the last one.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (number(11), number(12)) {
        text::counter(
            page,
            "process_cpu_seconds",
            "Total user and system CPU time spent, in seconds",
            (user + system) / TICKS,
        );
    }
    if let (Some(since_boot), Some(boot)) = (number(19), boot_time()) {
        let help = "Start time of the process since the Unix epoch, in seconds";
        text::gauge(page, "process_start_time_seconds", help, boot + since_boot / TICKS);
    }
    if let Some(virtual_bytes) = number(20) {
        text::gauge(page, "process_virtual_memory_bytes", "Virtual memory size, in bytes", virtual_bytes);
    }
    if let Some(resident) = resident_bytes() {
        text::gauge(page, "process_resident_memory_bytes", "Resident memory size, in bytes", resident);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the descriptor that reads the folder.
        text::gauge(
            page,
            "process_open_fds",
            "Number of open file descriptors",
            entries.count().saturating_sub(1) as f64,
        );
    }
    if let Some(limit) = open_file_limit() {
        text::gauge(page, "process_max_fds", "Maximum number of open file descriptors", limit);
    }
    if let Some(threads) = number(17) {
        text::gauge(page, "process_threads", "Number of operating system threads", threads);
    }
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

fn open_file_limit() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

//! The `process_*` families, read from `/proc` at each scrape. They are left out where there is no `/proc`.

use std::fs;

use super::family::MetricFamily;
use super::text_format::Page;

/// Clock ticks in a second. The kernel's ABI fixes the number on every architecture that Portcullis is built for.
const TICKS: f64 = 100.0;

const CPU: MetricFamily =
    MetricFamily::counter("process_cpu_seconds", "Total user and system CPU time spent, in seconds");
const START: MetricFamily =
    MetricFamily::gauge("process_start_time_seconds", "Start time of the process since the Unix epoch, in seconds");
const VIRTUAL: MetricFamily = MetricFamily::gauge("process_virtual_memory_bytes", "Virtual memory size, in bytes");
const RESIDENT: MetricFamily = MetricFamily::gauge("process_resident_memory_bytes", "Resident memory size, in bytes");
const OPEN_FDS: MetricFamily = MetricFamily::gauge("process_open_fds", "Number of open file descriptors");
const MAX_FDS: MetricFamily = MetricFamily::gauge("process_max_fds", "Maximum number of open file descriptors");
const THREADS: MetricFamily = MetricFamily::gauge("process_threads", "Number of operating system threads");

pub(super) const FAMILIES: [MetricFamily; 7] = [CPU, START, VIRTUAL, RESIDENT, OPEN_FDS, MAX_FDS, THREADS];

pub(super) fn append(page: &mut Page) {
    let Some(stat) = fs::read_to_string("/proc/self/stat").ok() else { return };
    // The command's name is in parentheses and may contain spaces and parentheses: fields count from the last one.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (number(11), number(12)) {
        page.value(&CPU, (user + system) / TICKS);
    }
    if let (Some(since_boot), Some(boot)) = (number(19), boot_time()) {
        page.value(&START, boot + since_boot / TICKS);
    }
    if let Some(virtual_bytes) = number(20) {
        page.value(&VIRTUAL, virtual_bytes);
    }
    if let Some(resident) = resident_bytes() {
        page.value(&RESIDENT, resident);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the descriptor that reads the folder.
        page.value(&OPEN_FDS, entries.count().saturating_sub(1) as f64);
    }
    if let Some(limit) = open_file_limit() {
        page.value(&MAX_FDS, limit);
    }
    if let Some(threads) = number(17) {
        page.value(&THREADS, threads);
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

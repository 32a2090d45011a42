//! The `process_*` families, read from `/proc` at each scrape. They are left out where there is no `/proc`.

use std::fs::{self, File};
use std::io::Read as _;
use std::sync::OnceLock;

use super::family::MetricFamily;
use super::text_format::Page;

/// Clock ticks in a second. The kernel's ABI fixes the number on every architecture that Portcullis is built for.
const TICKS: f64 = 100.0;
/// Room for any of the files, in bytes, apart from `/proc/stat`.
const READ_AT_ONCE: usize = 4096;

/// When the process started, in Unix seconds. The kernel counts from the boot, the time of which takes long to find.
static START_TIME: OnceLock<Option<f64>> = OnceLock::new();

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
    let mut text = String::with_capacity(READ_AT_ONCE);
    let Some(stat) = read("/proc/self/stat", &mut text) else { return };
    // The command's name is in parentheses and may contain spaces and parentheses: fields count from the last one.
    let fields = || stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let number = |index: usize| fields().nth(index).and_then(|text| text.parse::<f64>().ok());
    let (cpu, virtual_bytes, threads) = (number(11).zip(number(12)), number(20), number(17));
    let start = *START_TIME.get_or_init(|| Some(boot_time()? + number(19)? / TICKS));
    if let Some((user, system)) = cpu {
        page.value(&CPU, (user + system) / TICKS);
    }
    if let Some(start) = start {
        page.value(&START, start);
    }
    if let Some(virtual_bytes) = virtual_bytes {
        page.value(&VIRTUAL, virtual_bytes);
    }
    if let Some(resident) = resident_bytes(&mut text) {
        page.value(&RESIDENT, resident);
    }
    if let Some(open) = open_fds() {
        page.value(&OPEN_FDS, open as f64);
    }
    if let Some(limit) = open_file_limit(&mut text) {
        page.value(&MAX_FDS, limit);
    }
    if let Some(threads) = threads {
        page.value(&THREADS, threads);
    }
}

/// Reads a file into `text`. The kernel says that such a file is empty, so without room it is read 32 bytes at a time.
fn read<'t>(path: &str, text: &'t mut String) -> Option<&'t str> {
    text.clear();
    File::open(path).and_then(|mut file| file.read_to_string(text)).ok()?;
    Some(text)
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()
}

fn resident_bytes(text: &mut String) -> Option<f64> {
    let status = read("/proc/self/status", text)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// The number of open descriptors. Since Linux 6.2 it is the size of the folder; before, somebody has to count, which takes
/// longer the more there are.
fn open_fds() -> Option<u64> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        // One of them is the descriptor that reads the folder.
        0 => fs::read_dir(folder).ok().map(|entries| entries.count().saturating_sub(1) as u64),
        open => Some(open),
    }
}

fn open_file_limit(text: &mut String) -> Option<f64> {
    let limits = read("/proc/self/limits", text)?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn open_descriptors_are_counted_without_the_one_that_counts() {
        let counted = || fs::read_dir("/proc/self/fd").expect("Linux").count() as u64 - 1;
        // Other tests open and close files meanwhile.
        assert!((0..1000).any(|_| open_fds() == Some(counted())));
    }

    #[test]
    fn a_file_is_read_as_a_whole_into_a_text_that_held_another() {
        let mut text = "x".repeat(READ_AT_ONCE);
        let status = read("/proc/self/status", &mut text).expect("Linux");
        assert!(status.starts_with("Name:") && status.ends_with('\n'), "{status}");
        assert_eq!(read("/proc/self/nothing", &mut text), None);
    }
}

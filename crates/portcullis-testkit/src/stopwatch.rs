//! How long something took, on a machine that may be busy.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the process shows that it runs.
const TICK: Duration = Duration::from_millis(5);

/// Measures real time, for lower bounds, and the time in which this process ran, for upper bounds. A machine that makes the process
/// wait is then no failure of what is measured.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    started: Instant,
    started_after: Duration,
}

impl Stopwatch {
    /// Starts to measure.
    pub fn start() -> Self {
        Self { started: Instant::now(), started_after: ran() }
    }

    /// The real time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The time since the start, without pauses in which this process did not get to run.
    pub fn running(&self) -> Duration {
        ran() - self.started_after
    }

    /// Asserts that at least the beginning and at most the end of a range, in seconds, has passed.
    #[track_caller]
    pub fn assert_within(&self, seconds: Range<f64>) {
        let (elapsed, running) = (self.elapsed().as_secs_f64(), self.running().as_secs_f64());
        assert!(elapsed >= seconds.start && running < seconds.end, "{elapsed} s, {running} s of them running");
    }
}

/// How long this process has run since it first asked.
fn ran() -> Duration {
    static RAN: AtomicU64 = AtomicU64::new(0);
    static TICKING: OnceLock<()> = OnceLock::new();
    TICKING.get_or_init(|| {
        std::thread::spawn(|| {
            let mut last = Instant::now();
            loop {
                std::thread::park_timeout(TICK);
                let now = Instant::now();
                // A longer pause is the machine's.
                let passed = (now - last).min(2 * TICK);
                RAN.fetch_add(u64::try_from(passed.as_nanos()).unwrap_or_default(), Ordering::Relaxed);
                last = now;
            }
        });
    });
    Duration::from_nanos(RAN.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_is_timed_like_the_clock() {
        let stopwatch = Stopwatch::start();
        while stopwatch.running() < 20 * TICK {
            std::thread::park_timeout(TICK);
        }
        assert!(stopwatch.elapsed() + TICK >= stopwatch.running(), "{stopwatch:?}");
        stopwatch.assert_within(0.09..60.0);
    }
}

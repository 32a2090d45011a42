//! Durations counted by bucket, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of buckets in nanoseconds, rising. A longer duration counts in one more bucket.
#[derive(Debug)]
pub(super) struct Bounds(Box<[u64]>);

impl Bounds {
    /// The bounds of several histograms together, so that one count serves all of them.
    pub(super) fn merged<'b>(histograms: impl Iterator<Item = &'b [f64]>) -> Self {
        let mut all: Vec<u64> = histograms.flatten().map(|bound| nanoseconds(*bound)).collect();
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }

    /// The number of the bucket with this upper bound.
    pub(super) fn index_of(&self, bound: f64) -> usize {
        self.0.binary_search(&nanoseconds(bound)).unwrap_or_else(|next| next)
    }

    fn bucket_of(&self, nanoseconds: u64) -> usize {
        self.0.partition_point(|bound| *bound < nanoseconds)
    }

    pub(super) fn durations(&self) -> Durations {
        let buckets = (0..=self.0.len()).map(|_| AtomicU64::new(0)).collect();
        Durations { buckets, nanoseconds: AtomicU64::new(0) }
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(seconds.max(0.0)).as_nanos()).unwrap_or(u64::MAX)
}

/// How many durations there were in each bucket, and all of them together.
#[derive(Debug)]
pub(super) struct Durations {
    buckets: Box<[AtomicU64]>,
    nanoseconds: AtomicU64,
}

impl Durations {
    /// Counts a duration. Returns the number of its bucket.
    pub(super) fn add(&self, bounds: &Bounds, took: Duration) -> usize {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bounds.bucket_of(nanoseconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        bucket
    }

    /// The number of durations.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The sum of the durations, in nanoseconds.
    pub(super) fn sum(&self) -> u64 {
        self.nanoseconds.load(Ordering::Relaxed)
    }

    /// Writes into `counts` how many durations were at most as long as each bound; the last number is of all durations.
    pub(super) fn cumulative(&self, counts: &mut Vec<u64>) {
        counts.clear();
        let mut total = 0;
        counts.extend(self.buckets.iter().map(|bucket| {
            total += bucket.load(Ordering::Relaxed);
            total
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_up_to_its_bound_included() {
        let bounds = Bounds::merged([&[0.1, 1.0][..], &[0.1, 0.25]].into_iter());
        let durations = bounds.durations();
        for milliseconds in [99, 100, 101, 250, 1_000, 1_001] {
            durations.add(&bounds, Duration::from_millis(milliseconds));
        }
        let mut counts = Vec::new();
        durations.cumulative(&mut counts);
        assert_eq!(counts, [2, 4, 5, 6]);
        assert_eq!([0.1, 0.25, 1.0].map(|bound| bounds.index_of(bound)), [0, 1, 2]);
        assert_eq!((durations.count(), durations.sum()), (6, 2_551_000_000));
    }
}

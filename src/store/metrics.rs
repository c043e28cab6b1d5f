//! What a store measures of itself while it works: plain numbers that whoever wants them reads. Nothing here waits or
//! allocates when something is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A distribution, counted in ranges.
#[derive(Debug)]
pub struct Histogram {
    /// The upper bounds of the ranges, ascending.
    bounds: &'static [f64],
    /// What lies in each range, and last what lies above them all.
    counts: Box<[AtomicU64]>,
    /// The sum in millionths.
    sum: AtomicU64,
}

/// A distribution at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// The ranges by their upper bounds, the last of which is [`f64::INFINITY`], each with what lies in it alone.
    pub ranges: Vec<(f64, u64)>,
    /// The sum of all values.
    pub sum: f64,
}

impl Distribution {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(_, count)| count).sum()
    }
}

impl Histogram {
    /// An empty one over these bounds, which must ascend.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a number.
    pub fn count(&self, number: usize) {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.add(number.into(), u64::from(number) * 1_000_000);
    }

    /// Counts a time, in seconds.
    pub fn time(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.add(time.as_secs_f64(), micros);
    }

    fn add(&self, value: f64, millionths: u64) {
        let range = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(range) {
            count.fetch_add(1, Ordering::Relaxed);
            self.sum.fetch_add(millionths, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a sum that loses microseconds lasts for centuries"
    )]
    pub fn read(&self) -> Distribution {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        Distribution {
            ranges: bounds.zip(counts).collect(),
            sum: self.sum.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

/// How often a cache had what was asked for.
#[derive(Debug, Default)]
pub struct CacheUse {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl CacheUse {
    /// Counts so many that were there.
    pub fn hit(&self, times: usize) {
        self.hits.fetch_add(times as u64, Ordering::Relaxed);
    }

    /// Counts one that was not.
    pub fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Hits and misses so far.
    pub fn read(&self) -> (u64, u64) {
        (
            self.hits.load(Ordering::Relaxed),
            self.misses.load(Ordering::Relaxed),
        )
    }
}

/// Seconds of work on a disk.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Batches of a group.
const BATCHES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// See the module's page.
#[derive(Debug)]
pub struct Measures {
    /// How many batches were committed together.
    pub group_batches: Histogram,
    /// How long such a group took from when it was begun until it was durable.
    pub group_seconds: Histogram,
    /// How long the disk took to make a group durable.
    pub sync_seconds: Histogram,
    /// The cache of articles.
    pub articles: CacheUse,
    /// The cache of texts.
    pub bodies: CacheUse,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            group_batches: Histogram::new(BATCHES),
            group_seconds: Histogram::new(SECONDS),
            sync_seconds: Histogram::new(SECONDS),
            articles: CacheUse::default(),
            bodies: CacheUse::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_range_that_it_ends_or_is_inside_of() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        histogram.count(1);
        histogram.count(2);
        histogram.count(3);
        histogram.time(Duration::from_micros(1_500_000));
        let read = histogram.read();
        assert_eq!(read.ranges, [(1.0, 1), (2.0, 2), (f64::INFINITY, 1)]);
        assert!((read.sum - 7.5).abs() < 1e-9);
        assert_eq!(read.count(), 4);
    }
}

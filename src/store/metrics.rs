//! Metrics of group commit and caches. The server registers and exposes them.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

/// Histogram buckets of disk operations, in seconds.
const SECONDS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Histogram buckets of batches in a group.
const BATCHES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Lookups in a cache.
#[derive(Debug, Default)]
pub struct CacheMetrics {
    /// Lookups that found their entry.
    pub hits: Counter,
    /// Lookups that had to read the store.
    pub misses: Counter,
}

/// Metrics of group commit and caches.
#[derive(Debug)]
pub struct Metrics {
    /// Batches of each group.
    pub group_batches: Histogram,
    /// Seconds from the start of a group until it was durable.
    pub group_seconds: Histogram,
    /// Seconds that the disk took to make a group durable.
    pub sync_seconds: Histogram,
    /// The cache of articles.
    pub articles: CacheMetrics,
    /// The cache of texts.
    pub bodies: CacheMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            group_batches: Histogram::new(BATCHES),
            group_seconds: Histogram::new(SECONDS),
            sync_seconds: Histogram::new(SECONDS),
            articles: CacheMetrics::default(),
            bodies: CacheMetrics::default(),
        }
    }
}

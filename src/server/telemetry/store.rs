//! Metrics of the store. A scrape does not read the store: the status is that of the last probe, and the store counts its
//! distributions and caches itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::domain::freshness::Overall;
use crate::domain::job::JobKind;
use crate::domain::language::Language;
use crate::service::Service;
use crate::store::{Counts, StoreStatus};

/// The label of all languages that were not named.
const OTHER: &str = "other";

/// Languages with metrics of their own. All others share the label `other`, since each label is a series that is kept.
#[derive(Debug, Clone, Default)]
pub struct Languages(BTreeSet<Language>);

impl FromIterator<Language> for Languages {
    fn from_iter<I: IntoIterator<Item = Language>>(languages: I) -> Self {
        Self(languages.into_iter().collect())
    }
}

impl Languages {
    fn name(&self, language: &Language) -> &str {
        self.0.get(language).map_or(OTHER, Language::as_str)
    }
}

/// See the module's page.
#[derive(Debug)]
pub struct StoreFigures {
    languages: Languages,
    service: Mutex<Option<Observed>>,
    status: Mutex<Option<StoreStatus>>,
}

/// The service that is asked.
struct Observed(Service);

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observed")
    }
}

impl StoreFigures {
    pub(super) fn new(languages: Languages) -> Self {
        Self {
            languages,
            service: Mutex::default(),
            status: Mutex::default(),
        }
    }

    /// Sets the status of the store; `None` while it does not answer.
    pub fn status(&self, status: Option<StoreStatus>) {
        *self.status.lock() = status;
    }

    /// The store is closed.
    pub fn forget(&self) {
        *self.service.lock() = None;
        *self.status.lock() = None;
    }

    /// Scrapes ask this service from now on.
    pub fn observe(&self, service: Service) {
        *self.service.lock() = Some(Observed(service));
    }
}

fn overall_name(overall: Overall) -> &'static str {
    match overall {
        Overall::Current => "current",
        Overall::Moved => "moved",
        Overall::Orphaned => "orphaned",
        Overall::Stale => "stale",
        Overall::Incomplete => "incomplete",
    }
}

/// Sums of numbers by labels.
type Sums<'a, const N: usize> = BTreeMap<[(&'static str, &'a str); N], u64>;

impl Collector for StoreFigures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        if let Some(status) = &*self.status.lock() {
            self.write_status(&mut writer, status)?;
            self.write_backlog(&mut writer, status)?;
        }
        match &*self.service.lock() {
            Some(Observed(service)) => write_metrics(&mut writer, service),
            None => Ok(()),
        }
    }
}

/// A number of an article language.
type Count = fn(&Counts) -> u64;

impl StoreFigures {
    fn write_status(&self, writer: &mut Writer<'_>, status: &StoreStatus) -> fmt::Result {
        if let Some(sizes) = status.sizes {
            for (name, help, bytes) in [
                ("live", "Bytes of all records", sizes.live_bytes),
                (
                    "disk",
                    "Bytes that the store takes on its volume",
                    sizes.disk_bytes,
                ),
                (
                    "available",
                    "Bytes that the volume has free",
                    sizes.available_bytes,
                ),
                (
                    "floor",
                    "Free bytes below which writes are refused",
                    sizes.floor_bytes,
                ),
            ] {
                writer.gauge(&format!("store_{name}_bytes"), help, bytes)?;
            }
        }
        writer.gauge(
            "store_last_seq",
            "The number of the newest durable commit",
            status.seq,
        )?;
        let counts: [(&str, &str, Count); 4] = [
            ("articles", "Articles that are not deleted", |counts| {
                counts.articles
            }),
            ("deleted_articles", "Deleted articles", |counts| counts.deleted),
            ("revisions", "Revisions of all articles", |counts| {
                counts.revisions
            }),
            ("translations", "Translations that are not withdrawn", |counts| {
                counts.translations
            }),
        ];
        for (name, help, count) in counts {
            let mut sums = Sums::new();
            for (language, counts) in &status.counts {
                let labels = [("language", self.languages.name(language))];
                *sums.entry(labels).or_default() += count(counts);
            }
            writer.gauges(name, help, &sums)?;
        }
        Ok(())
    }

    fn write_backlog(&self, writer: &mut Writer<'_>, status: &StoreStatus) -> fmt::Result {
        let mut jobs = Sums::new();
        let name = |language| self.languages.name(language);
        let open_jobs = status.counts.iter().flat_map(|(target, counts)| {
            let jobs = counts.open_jobs.iter();
            jobs.map(move |((source, kind), count)| (source, target, kind, count))
        });
        for (source, target, kind, count) in open_jobs {
            let labels = [
                ("source", name(source)),
                ("target", name(target)),
                ("kind", JobKind::name(*kind)),
            ];
            *jobs.entry(labels).or_default() += count;
        }
        writer.gauges(
            "open_jobs",
            "Open jobs, leased or not, by languages and kind",
            &jobs,
        )?;
        let mut translations = Sums::new();
        let not_current = status.counts.iter().flat_map(|(language, counts)| {
            let translations = counts.not_current.iter();
            translations.map(move |(overall, count)| (language, overall, count))
        });
        for (language, overall, count) in not_current {
            let labels = [
                ("language", name(language)),
                ("freshness", overall_name(*overall)),
            ];
            *translations.entry(labels).or_default() += count;
        }
        let help = "Active translations that do not hold, by language and in which way";
        writer.gauges("translations_not_current", help, &translations)
    }
}

fn write_metrics(writer: &mut Writer<'_>, service: &Service) -> fmt::Result {
    let help = "Seconds by which the clock is ahead of the time that has passed since the last commit; negative if it is behind";
    let ahead = ConstGauge::new(service.store().clock().ahead_micros() as f64 / 1e6);
    writer.put("clock_ahead_seconds", help, &ahead)?;
    let feed = service.feed_status();
    writer.gauge("watchers", "Followers of the change feed", feed.followers as u64)?;
    let (exports, imports) = service.stream_bytes();
    let help = "Bytes that exports have read and not sent (--max-export-bytes)";
    writer.gauge("export_held_bytes", help, exports as u64)?;
    let help = "Bytes that imports take for the items that are being written (--max-import-bytes)";
    writer.gauge("import_held_bytes", help, imports as u64)?;
    writer.gauge(
        "feed_lag_commits",
        "Durable commits that are not ready to be told",
        feed.lag,
    )?;
    let help = "Durable commits that the slowest of those who follow has not looked at";
    writer.gauge("watch_lag_commits", help, feed.slowest_lag)?;

    let Some(metrics) = service.store().metrics() else {
        return Ok(());
    };
    let histograms = [
        (
            "commit_group_batches",
            "Batches that were committed together",
            &metrics.group_batches,
        ),
        (
            "commit_group_seconds",
            "Time from the beginning of a group of commits until it was durable",
            &metrics.group_seconds,
        ),
        (
            "fsync_seconds",
            "Time that the disk took to make a group of commits durable",
            &metrics.sync_seconds,
        ),
    ];
    for (name, help, histogram) in histograms {
        writer.put(name, help, histogram)?;
    }
    let caches = [("articles", &metrics.articles), ("texts", &metrics.bodies)];
    let hits = caches.map(|(name, cache)| ([("cache", name)], cache.hits.get()));
    writer.counters("cache_hits", "Lookups that the cache answered", &hits.into())?;
    let misses = caches.map(|(name, cache)| ([("cache", name)], cache.misses.get()));
    writer.counters(
        "cache_misses",
        "Lookups that had to read the store",
        &misses.into(),
    )
}

/// Writes metrics as they are at this moment.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn put(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let help = format!("{help}.");
        metric.encode(
            self.0
                .encode_descriptor(name, &help, None, metric.metric_type())?,
        )
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.put(name, help, &ConstGauge::new(value))
    }

    fn gauges<const N: usize>(&mut self, name: &str, help: &str, sums: &Sums<'_, N>) -> fmt::Result {
        self.family(name, help, sums, MetricType::Gauge, |value, encoder| {
            ConstGauge::new(value).encode(encoder)
        })
    }

    fn counters<const N: usize>(&mut self, name: &str, help: &str, sums: &Sums<'_, N>) -> fmt::Result {
        self.family(name, help, sums, MetricType::Counter, |value, encoder| {
            ConstCounter::new(value).encode(encoder)
        })
    }

    fn family<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        sums: &Sums<'_, N>,
        of: MetricType,
        encode: impl Fn(u64, MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result
    where
        for<'b> [(&'static str, &'b str); N]: EncodeLabelSet,
    {
        let help = format!("{help}.");
        let mut encoder = self.0.encode_descriptor(name, &help, None, of)?;
        for (labels, value) in sums {
            encode(*value, encoder.encode_family(labels)?)?;
        }
        Ok(())
    }
}

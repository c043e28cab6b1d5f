//! A store in a directory of its own, tasks that keep it busy, and what they cost.

use std::fmt;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use article_store::clock::SystemClock;
use article_store::server::store_factory::{StoreLocation, StoreOptions};
use article_store::service::Service;
use article_store::store::Store;
use hdrhistogram::Histogram;
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

/// The default options of a server.
pub(crate) const OPTIONS: StoreOptions = StoreOptions {
    cache_bytes: 64 << 20,
    min_free_bytes: None,
};

/// A directory, and the service over the store in it. It goes with [`Place::end`], because an open store makes files anew.
pub(crate) struct Place {
    directory: TempDir,
    service: Option<Service>,
}

impl Place {
    /// Under `ARTICLE_STORE_TEST_BENCH_DIR`, or the build's directory.
    pub(crate) fn new() -> Self {
        let parent = std::env::var_os("ARTICLE_STORE_TEST_BENCH_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        fs::create_dir_all(&parent).unwrap();
        let mut place = Self {
            directory: tempfile::tempdir_in(parent).unwrap(),
            service: None,
        };
        place.open();
        place
    }

    /// A path beside the store.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn service(&self) -> Service {
        self.service.clone().unwrap()
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.service().store().clone()
    }

    /// Opens the store, and says how long that took.
    pub(crate) fn open(&mut self) -> Duration {
        let begin = Instant::now();
        let store = StoreLocation::Sled(self.beside("store"))
            .open(OPTIONS, Arc::new(SystemClock))
            .unwrap();
        let taken = begin.elapsed();
        self.service = Some(Service::new(store, Arc::new(SystemClock)));
        taken
    }

    /// Closes the store.
    pub(crate) async fn close(&mut self) {
        let service = self.service.take().unwrap();
        service.store().close().await.unwrap();
    }

    /// Closes the store and removes all.
    pub(crate) async fn end(mut self) {
        self.close().await;
        self.directory.close().unwrap();
    }

    /// Has the operating system forget what it read of a closed store.
    pub(crate) fn forget(&self) {
        drop_pages(&self.beside("store"));
    }

    /// Disk, live bytes and memory as they are.
    pub(crate) async fn sizes(&self) -> Sizes {
        let sizes = self.store().status().await.unwrap().sizes.unwrap();
        Sizes {
            disk: sizes.disk_bytes,
            live: sizes.live_bytes,
            memory: memory(),
        }
    }
}

fn drop_pages(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            drop_pages(&path);
        } else {
            let file = File::open(&path).unwrap();
            file.sync_all().unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
    }
}

/// What a store takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) disk: u64,
    pub(crate) live: u64,
    memory: f64,
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (disk, live) = (mib(self.disk), mib(self.live));
        write!(
            f,
            "disk {disk:.0} MiB, live {live:.0} MiB, resident {:.0} MiB",
            self.memory
        )
    }
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Resident memory of this process in MiB.
pub(crate) fn memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Seconds of processor time that this process has taken.
pub(crate) fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

/// How long calls took.
pub(crate) struct Times {
    histogram: Histogram<u64>,
    elapsed: Duration,
    /// Cores that were busy with them, where that is known.
    cores: Option<f64>,
}

impl Times {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            histogram: Histogram::new(3).unwrap(),
            elapsed: Duration::ZERO,
            cores: None,
        }
    }

    /// Waits for a call, and counts it as one that followed the last.
    pub(crate) async fn take<T>(&mut self, call: impl Future<Output = T>) -> T {
        let begin = Instant::now();
        let answer = call.await;
        self.histogram.record(begin.elapsed().as_nanos() as u64).unwrap();
        self.elapsed += begin.elapsed();
        answer
    }

    /// The calls of tasks that went on at once for so long.
    pub(crate) fn together(tasks: impl IntoIterator<Item = Self>, elapsed: Duration) -> Self {
        let mut all = Self::new();
        for times in tasks {
            all.histogram.add(times.histogram).unwrap();
        }
        all.elapsed = elapsed;
        all
    }

    /// Calls per second.
    pub(crate) fn rate(&self) -> f64 {
        self.histogram.len() as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub(crate) fn elapsed(&self) -> f64 {
        self.elapsed.as_secs_f64()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |nanos: u64| nanos as f64 / 1e6;
        write!(
            f,
            "{:.0}/s, p50 {:.3} ms, p99 {:.3} ms, max {:.1} ms",
            self.rate(),
            ms(self.histogram.value_at_quantile(0.5)),
            ms(self.histogram.value_at_quantile(0.99)),
            ms(self.histogram.max())
        )?;
        self.cores.map_or(Ok(()), |cores| write!(f, ", {cores:.1} cores"))
    }
}

/// Does the work of all numbers, with a limit of concurrency.
pub(crate) async fn each<F: Future<Output = ()> + Send + 'static>(
    tasks: usize,
    numbers: Range<usize>,
    work: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Times {
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let (begin, processor_before) = (Instant::now(), processor());
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let (next, work) = (next.clone(), work.clone());
            tokio::spawn(async move {
                let mut times = Times::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return times;
                    }
                    times.take(work(number)).await;
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    let mut all = Times::together(all, begin.elapsed());
    all.cores = Some((processor() - processor_before) / all.elapsed());
    all
}

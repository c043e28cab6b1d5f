//! Process metrics under the standard names of Prometheus clients. Read from `/proc` at each scrape; left out where there
//! is none.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};

use crate::server::calls::panics;

/// The process at a moment.
#[derive(Debug)]
pub(super) struct Process {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    threads: Option<u64>,
    start_seconds: Option<f64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
    panics: u64,
}

impl Process {
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let stat = Stat::of(&stat);
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks = clock_ticks_per_second();
        #[expect(clippy::cast_precision_loss, reason = "ticks since the start are few")]
        let seconds = |count: u64| count as f64 / ticks as f64;
        Self {
            cpu_seconds: stat
                .number(13)
                .zip(stat.number(14))
                .map(|(user, system)| seconds(user + system)),
            resident_bytes: stat.number(23).map(|pages| pages * page_size() as u64),
            virtual_bytes: stat.number(22),
            threads: stat.number(19),
            start_seconds: stat
                .number(21)
                .zip(boot_time(&boot))
                .map(|(start, boot)| boot + seconds(start)),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as u64),
            max_fds: max_fds(&limits),
            panics: panics::count(),
        }
    }
}

/// The fields of `/proc/self/stat`, counted from 0.
struct Stat<'a>(Vec<&'a str>);

impl<'a> Stat<'a> {
    fn of(text: &'a str) -> Self {
        // The second field is the name of the program, in parentheses, which may hold anything.
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        Self(["", ""].into_iter().chain(rest.split_whitespace()).collect())
    }

    fn number(&self, field: usize) -> Option<u64> {
        self.0.get(field)?.parse().ok()
    }
}

fn boot_time(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut put = |name: &str, help: &str, metric: &dyn Encode| metric.put(&mut encoder, name, help);
        let counter = self.cpu_seconds.map(ConstCounter::new);
        put(
            "process_cpu_seconds",
            "Processor time, user and system, in seconds.",
            &counter,
        )?;
        let gauge = |number: Option<u64>| number.map(ConstGauge::new);
        put(
            "process_resident_memory_bytes",
            "Memory in use.",
            &gauge(self.resident_bytes),
        )?;
        put(
            "process_virtual_memory_bytes",
            "Address space.",
            &gauge(self.virtual_bytes),
        )?;
        put("process_threads", "Threads.", &gauge(self.threads))?;
        put(
            "process_open_fds",
            "Open files and sockets.",
            &gauge(self.open_fds),
        )?;
        put(
            "process_max_fds",
            "The most files and sockets that may be open.",
            &gauge(self.max_fds),
        )?;
        let start = self.start_seconds.map(ConstGauge::new);
        put(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970.",
            &start,
        )?;
        let panics = Some(ConstCounter::new(self.panics));
        put(
            "article_store_panics",
            "Bugs that stopped a call, or a thread of the server.",
            &panics,
        )
    }
}

/// A number that may be missing.
trait Encode {
    fn put(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result;
}

impl<M: EncodeMetric> Encode for Option<M> {
    fn put(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        let Some(metric) = self else { return Ok(()) };
        metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_any_name_is_read() {
        let stat = Stat::of(
            "7 (a) b 1 2) S 1 7 7 0 -1 4194560 123 0 0 0 250 50 0 0 20 0 9 0 4711 8192 33 18446744073709551615 1",
        );
        assert_eq!(
            [13, 14, 19, 21, 22, 23].map(|field| stat.number(field)),
            [Some(250), Some(50), Some(9), Some(4711), Some(8192), Some(33)]
        );
        assert_eq!(stat.number(99), None);
        assert_eq!(Stat::of("").number(13), None);
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1.7e9));
        let limits = "Limit  Soft Limit  Hard Limit Units\nMax open files            1024                 524288               files\n";
        assert_eq!(max_fds(limits), Some(1024));
    }

    #[test]
    fn this_process_is_read() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 1 << 20, "{process:?}");
        assert!(process.open_fds.unwrap() >= 3, "{process:?}");
        assert!(process.open_fds <= process.max_fds, "{process:?}");
        assert!(process.threads.unwrap() >= 1, "{process:?}");
        // Some time between 2020 and 2100.
        assert!(
            (1.57e9..4.1e9).contains(&process.start_seconds.unwrap()),
            "{process:?}"
        );
    }
}

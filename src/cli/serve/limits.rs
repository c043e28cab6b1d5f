//! How much a request may ask for, and how much the server takes on at once.

use std::time::Duration;

use clap::Args;

use crate::api::{Limits, MAX_BATCH};
use crate::cli::Failure;
use crate::cli::duration::duration;
use crate::domain::article::MAX_SEGMENTS;
use crate::domain::capacity::Capacity;
use crate::server::CallLimits;

/// See the module's page.
#[derive(Debug, Clone, Args)]
pub(super) struct LimitArgs {
    /// The largest request message in bytes. It bounds the memory of one call.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().message_bytes as u32, value_parser = clap::value_parser!(u32).range(1 << 10..=64 << 20))]
    max_message_bytes: u32,
    /// The largest article or translation in bytes of its message.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().article_bytes as u32, value_parser = clap::value_parser!(u32).range(1..=16 << 20))]
    max_article_bytes: u32,
    /// The most segments in the body of an article or a translation. The API promises callers the default.
    #[arg(long, value_name = "NUMBER", default_value_t = MAX_SEGMENTS as u32, value_parser = clap::value_parser!(u32).range(1..=MAX_SEGMENTS as i64))]
    max_segments: u32,
    /// The most article ids in one call (`BatchGetArticles`, `RequestTranslations`). The API promises callers the
    /// default.
    #[arg(long, value_name = "NUMBER", default_value_t = MAX_BATCH as u32, value_parser = clap::value_parser!(u32).range(1..=MAX_BATCH as i64))]
    max_batch: u32,
    /// The most languages of one article: those of its translations and of its jobs. More are refused with ARTICLE_FULL.
    #[arg(long, value_name = "NUMBER", default_value_t = Capacity::default().languages as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_languages_per_article: u32,
    /// The most open translation jobs of one article that callers request. What all policies together ask for of one article
    /// is limited to the same number.
    #[arg(long, value_name = "NUMBER", default_value_t = Capacity::default().open_jobs as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_open_jobs_per_article: u32,
    /// The most bytes of the translations and jobs of one article without their texts: about 110 for each segment of a
    /// translation, and 40 of a job. Every list reads all of them.
    #[arg(long, value_name = "BYTES", default_value_t = Capacity::default().state_bytes as u64, value_parser = clap::value_parser!(u64).range(1 << 10..))]
    max_article_state_bytes: u64,
    /// The shortest lease of a job in milliseconds. Shorter leases only cost disk writes.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = (Limits::default().shortest_lease_micros / 1_000) as u32, value_parser = clap::value_parser!(u32).range(1..=43_200_000))]
    shortest_lease_ms: u32,
    /// The most concurrent calls over all connections; others are refused at once with OVERLOADED. A higher limit
    /// lets bursts wait, and makes each call slower under load. Health and reflection do not count.
    #[arg(long, value_name = "NUMBER", default_value_t = CallLimits::default().in_flight as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight: u32,
    /// The most of them of one caller: a principal, or an address without credentials [default: four fifths of
    /// --max-in-flight]. The rest is for other callers.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight_per_caller: Option<u32>,
    /// The most concurrent streams and claims (watches, imports, exports, `ClaimJobs`), apart from other calls. Each
    /// takes memory while it is open.
    #[arg(long, value_name = "NUMBER", default_value_t = CallLimits::default().long_calls as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_long_calls: u32,
    /// The most of them of one caller [default: a quarter of --max-long-calls].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    max_long_calls_per_caller: Option<u32>,
    /// The most concurrent calls that need the scope `admin` (status, checks, backups, compaction, purges, policies),
    /// apart from other calls. One caller may have half of them.
    #[arg(long, value_name = "NUMBER", default_value_t = CallLimits::default().admin_calls as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_admin_calls: u32,
    /// The longest time from the headers of a call to its complete message, such as 500ms or 1m; then it is
    /// DEADLINE_EXCEEDED. A call counts when its message is complete. Large articles over slow networks may need more.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    receive_timeout: Duration,
    /// The most bytes of incomplete messages; other calls are refused with OVERLOADED. One caller may have half of them.
    #[arg(long, value_name = "BYTES", default_value_t = CallLimits::default().receive_bytes as u64, value_parser = clap::value_parser!(u64).range(1 << 20..))]
    max_receive_bytes: u64,
    /// The most bytes that all exports hold of what they have read and not sent. What is over waits; one caller may have half
    /// of them.
    #[arg(long, value_name = "BYTES", default_value_t = CallLimits::default().export_bytes as u64, value_parser = clap::value_parser!(u64).range(1 << 20..))]
    max_export_bytes: u64,
    /// The most bytes that all imports take while their items are written: six times the bytes of an item. What is over
    /// waits; one caller may have half of them.
    #[arg(long, value_name = "BYTES", default_value_t = CallLimits::default().import_bytes as u64, value_parser = clap::value_parser!(u64).range(1 << 20..))]
    max_import_bytes: u64,
    /// The longest time of a call that is neither a stream nor a claim, such as 500ms or 1m; then it is
    /// DEADLINE_EXCEEDED. Callers may ask for less.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    max_deadline: Duration,
}

impl LimitArgs {
    pub(super) fn of_calls(&self) -> CallLimits {
        let (in_flight, long_calls) = (self.max_in_flight as usize, self.max_long_calls as usize);
        let share = |given: Option<u32>, share| given.map_or(share, |given| given as usize);
        CallLimits {
            in_flight,
            in_flight_per_caller: share(self.max_in_flight_per_caller, CallLimits::short_share(in_flight)),
            long_calls,
            long_calls_per_caller: share(self.max_long_calls_per_caller, CallLimits::long_share(long_calls)),
            admin_calls: self.max_admin_calls as usize,
            deadline: self.max_deadline,
            receive_timeout: self.receive_timeout,
            receive_bytes: usize::try_from(self.max_receive_bytes).unwrap_or(usize::MAX),
            export_bytes: usize::try_from(self.max_export_bytes).unwrap_or(usize::MAX),
            import_bytes: usize::try_from(self.max_import_bytes).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn of_requests(&self) -> Result<Limits, Failure> {
        if self.max_article_bytes > self.max_message_bytes {
            return Err(Failure::Usage(format!(
                "--max-article-bytes {} is more than --max-message-bytes {}: no such article would be decoded",
                self.max_article_bytes, self.max_message_bytes
            )));
        }
        Ok(Limits {
            message_bytes: self.max_message_bytes as usize,
            article_bytes: self.max_article_bytes as usize,
            segments: self.max_segments as usize,
            batch: self.max_batch as usize,
            shortest_lease_micros: i64::from(self.shortest_lease_ms) * 1_000,
            capacity: Capacity {
                languages: self.max_languages_per_article as usize,
                open_jobs: self.max_open_jobs_per_article as usize,
                state_bytes: usize::try_from(self.max_article_state_bytes).unwrap_or(usize::MAX),
            },
        })
    }
}

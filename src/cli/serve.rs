//! `serve`: the server as a process. It binds, opens the store, serves, and stops on the first signal.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::Failure;
use super::duration::duration;
use crate::api::Limits;
use crate::clock::{Clock, SystemClock};
use crate::domain::access::{Scope, Scopes};
use crate::domain::workflow::SelfReview;
use crate::server::location::{StoreLocation, StoreOptions};
use crate::server::{self, Config, KeepChanges, MAX_FRAME_BYTES};
use crate::store::Store;

/// The arguments of `serve`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Prints `listening on ADDRESS` on standard output when it serves; the log goes to standard error. The first SIGTERM or \
SIGINT stops it in order, a second one at once.

Examples:
  article-store serve
  article-store serve --listen 0.0.0.0:50051 --store sled:/var/lib/article-store
  article-store serve --listen 127.0.0.1:0 --store memory --log debug")]
pub(crate) struct Serve {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Where the articles are: `sled:DIRECTORY`, or `memory` to forget them at the end.
    #[arg(long, value_name = "STORE", default_value = "sled:./article-store-data")]
    store: StoreLocation,
    /// Memory for decoded articles and texts, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    cache_mb: u64,
    /// Free bytes of the volume below which writes are refused; 1 GiB or a tenth of the database, whichever is more, if
    /// not given.
    #[arg(long, value_name = "BYTES")]
    min_free_bytes: Option<u64>,
    /// The largest article or translation, in bytes of its message.
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 20, value_parser = clap::value_parser!(u32).range(1..=MAX_FRAME_BYTES as i64))]
    max_article_bytes: u32,
    /// What callers without credentials may do besides reading and writing what is public, a list of scopes: `embargoed`
    /// shows embargoed articles, and lets translations be attached to them; `editorial` shows withheld and cancelled
    /// articles too. None if not given.
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', value_parser = scope)]
    anonymous_scopes: Vec<Scope>,
    /// How long running calls may go on after the signal to stop, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    grace_seconds: u32,
    /// The shortest lease that a worker may ask for, in milliseconds. Shorter ones only make work for the disk.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=43_200_000))]
    shortest_lease_ms: u32,
    /// Let agents review what they wrote themselves, for desks of one person.
    #[arg(long)]
    allow_self_review: bool,
    /// How many revisions of an article keep their text, all if not given. The text of older ones is dropped a day after
    /// the next one came, but for those that a translation was made from; what they say of themselves is kept.
    #[arg(long, value_name = "NUMBER")]
    keep_revisions: Option<NonZeroU32>,
    /// How long changes can be followed afterwards, such as 36h or 30d; at least a day. What watched last longer ago than
    /// that has to begin again with a snapshot.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = at_least_a_day)]
    keep_changes: Duration,
    /// How large the log of changes grows at most, in bytes; older changes go earlier then, but not within a day.
    #[arg(long, value_name = "BYTES", default_value_t = KeepChanges::default().bytes)]
    keep_changes_bytes: u64,
    /// What to log: a level, or a filter such as `info,article_store=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
    /// The form of the log: `auto` is text on a terminal and JSON elsewhere.
    #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
}

/// See [`Serve::log_format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// An object a line.
    Json,
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Failure> {
        self.start_log()?;
        let runtime = server::runtime()
            .map_err(|error| Failure::failed(format!("the server cannot start: {error}")))?;
        let served = runtime.block_on(self.serve());
        // A store that is still being opened does not hold up the stop.
        runtime.shutdown_background();
        served
    }

    async fn serve(self) -> Result<(), Failure> {
        let mut stop = stop_signal()?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = %self.listen,
            store = %self.store,
            cache_mb = self.cache_mb,
            min_free_bytes = self.min_free_bytes.map_or_else(|| "auto".to_owned(), |bytes| bytes.to_string()),
            max_article_bytes = self.max_article_bytes,
            anonymous_scopes = self.anonymous_scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(","),
            grace_seconds = self.grace_seconds,
            shortest_lease_ms = self.shortest_lease_ms,
            allow_self_review = self.allow_self_review,
            keep_revisions = self.keep_revisions.map_or_else(|| "all".to_owned(), |kept| kept.to_string()),
            keep_changes_hours = self.keep_changes.as_secs() / 3_600,
            keep_changes_bytes = self.keep_changes_bytes,
            log = self.log,
            "configuration"
        );
        let listener = TcpListener::bind(self.listen).await.map_err(|error| {
            Failure::failed(format!(
                "cannot listen on {}: {error}; choose another address with --listen",
                self.listen
            ))
        })?;
        let address = listener.local_addr().unwrap_or(self.listen);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = tokio::select! {
            store = self.clone().open(clock.clone()) => store?,
            _ = stop.changed() => {
                tracing::info!("stopped before the store was open");
                return Ok(());
            }
        };
        tracing::info!(%address, "serving");
        drop(writeln!(io::stdout(), "listening on {address}"));
        let config = Config {
            limits: Limits {
                article_bytes: self.max_article_bytes as usize,
                anonymous_scopes: self.anonymous_scopes.iter().copied().collect::<Scopes>(),
                shortest_lease_micros: i64::from(self.shortest_lease_ms) * 1_000,
            },
            grace: Duration::from_secs(self.grace_seconds.into()),
            self_review: if self.allow_self_review {
                SelfReview::Allowed
            } else {
                SelfReview::Refused
            },
            keep_revisions: self.keep_revisions,
            keep_changes: KeepChanges {
                age: self.keep_changes,
                bytes: self.keep_changes_bytes,
            },
        };
        server::run(listener, store, clock, config, async move {
            drop(stop.changed().await);
        })
        .await
        .map_err(|error| Failure::failed(format!("the server failed: {error}")))
    }

    /// Opens the store beside the threads that serve, for it may read the disk for a while.
    async fn open(self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, Failure> {
        let started = Instant::now();
        let options = StoreOptions {
            cache_bytes: self.cache_mb << 20,
            min_free_bytes: self.min_free_bytes,
        };
        let store = tokio::task::spawn_blocking(move || self.store.open(options, clock))
            .await
            .map_err(|panic| Failure::failed(format!("the store cannot be opened: {panic}")))?
            .map_err(|error| Failure::failed(error.to_string()))?;
        tracing::info!(seconds = started.elapsed().as_secs_f64(), "the store is open");
        Ok(store)
    }

    fn start_log(&self) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|error| Failure::Usage(format!("--log {:?}: {error}", self.log)))?;
        let text = match self.log_format {
            LogFormat::Auto => io::stderr().is_terminal(),
            LogFormat::Text => true,
            LogFormat::Json => false,
        };
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        let started = if text {
            log.try_init()
        } else {
            log.json().try_init()
        };
        started.map_err(|error| Failure::failed(format!("the log cannot start: {error}")))
    }
}

fn scope(name: &str) -> Result<Scope, String> {
    Scope::ALL
        .into_iter()
        .find(|scope| scope.name() == name)
        .ok_or_else(|| {
            format!(
                "{name:?} is not one of {}",
                Scope::ALL.map(Scope::name).join(", ")
            )
        })
}

/// Requests are remembered for a day, and found through the log.
fn at_least_a_day(text: &str) -> Result<Duration, String> {
    let kept = duration(text)?;
    if kept < Duration::from_secs(24 * 3_600) {
        return Err("changes are kept for a day at least, for retries of calls are known by them".into());
    }
    Ok(kept)
}

/// Changes at the first signal; the second one ends the process.
fn stop_signal() -> Result<watch::Receiver<()>, Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::failed(format!("signals cannot be received: {error}")));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(());
    tokio::spawn(async move {
        let mut signals = 0;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            signals += 1;
            if signals == 2 {
                tracing::warn!("stopped at once by a second signal");
                std::process::exit(1);
            }
            // Nobody listens any more when the process is about to end.
            let _ = stop.send(());
        }
    });
    Ok(stopped)
}

//! `serve`: the server as a process. It binds, opens the store, serves, and stops on the first signal.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(super) use self::configuration::Configuration;

use self::identity::IdentityArgs;
use self::lifecycle::{Lifecycle, show_life, stop_signal, tell};
use self::limits::LimitArgs;
use self::listen::listen_address;
use self::log::LogArgs;
use self::telemetry::{TelemetryArgs, Traces};
use self::tls::TlsArgs;
use self::transport::TransportArgs;
use super::Failure;
use super::duration::duration;
use crate::clock::{Clock, SystemClock, TrustedClock};
use crate::domain::workflow::SelfReview;
use crate::server::auth::Gate;
use crate::server::store_factory::{StoreLocation, StoreOptions};
use crate::server::{self, Config, KeepChanges, Starting};
use crate::store::Store;

mod configuration;
mod identity;
mod lifecycle;
mod limits;
mod listen;
mod log;
mod telemetry;
mod tls;
mod transport;

/// The arguments of `serve`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Prints `listening on ADDRESS` on standard output when it serves; the log goes to standard error. The first SIGTERM or \
SIGINT stops it in order, a second one at once.

Examples:
  article-store serve
  article-store serve --listen 0.0.0.0:50051 --store sled:/var/lib/article-store --tls-cert server.pem \
--tls-key server.key --tls-client-ca clients.pem
  article-store serve --listen 127.0.0.1:0 --store memory --log debug")]
pub(crate) struct Serve {
    /// The address to listen on: IP:PORT or localhost:PORT. Port 0 is a free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051", value_parser = listen_address)]
    listen: SocketAddr,
    /// The store: `sled:DIRECTORY`, or `memory` for a store that ends with the server.
    #[arg(long, value_name = "STORE", default_value = "sled:./article-store-data")]
    store: StoreLocation,
    /// Memory for decoded articles and texts, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    cache_mb: u64,
    /// Writes are refused below this many free bytes of the volume [default: 1 GiB or a tenth of the database,
    /// whichever is more].
    #[arg(long, value_name = "BYTES")]
    min_free_bytes: Option<u64>,
    #[command(flatten)]
    lifecycle: Lifecycle,
    /// Take the clock for right, however far it is ahead of the last commit. Without this the server does not start more
    /// than 366 days ahead, and refuses writes while the clock is more than a day ahead of the time that has passed.
    #[arg(long)]
    accept_clock_jump: bool,
    /// Let people review their own translations, for desks of one person.
    #[arg(long)]
    allow_self_review: bool,
    /// How many revisions of an article keep their text [default: all]. Older texts are dropped a day after the next
    /// revision, except those that a translation was made from. Their metadata stays.
    #[arg(long, value_name = "NUMBER")]
    keep_revisions: Option<NonZeroU32>,
    /// How long changes stay in the change log, such as 36h or 30d. A client that resumes from before needs a
    /// snapshot.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration)]
    keep_changes: Duration,
    /// The largest size of the change log in bytes. Older changes are dropped earlier to keep it.
    #[arg(long, value_name = "BYTES", default_value_t = KeepChanges::default().bytes)]
    keep_changes_bytes: u64,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    transport: TransportArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl Serve {
    pub(crate) fn run(self, configuration: &Configuration) -> Result<(), Failure> {
        let runtime = server::runtime()
            .map_err(|error| Failure::failed(format!("the server cannot start: {error}")))?;
        let traces = runtime.block_on(async { self.telemetry.traces() })?;
        self.log.start(traces.as_ref().map(Traces::layer))?;
        let served = runtime.block_on(self.serve(configuration));
        if let Some(traces) = traces {
            traces.stop();
        }
        // A store that is still being opened does not hold up the stop.
        runtime.shutdown_background();
        served
    }

    async fn serve(self, configuration: &Configuration) -> Result<(), Failure> {
        let mut stop = stop_signal()?;
        let limits = self.limits.of_requests()?;
        configuration.log();
        let auth = self.identity.config();
        let has_auth = auth.authenticates() || self.tls.requires_client_certificates();
        self.tls.check_exposure(self.listen, has_auth)?;
        let tls = self.tls.load()?;
        let telemetry = self.telemetry.telemetry();
        self.telemetry.serve(&telemetry).await?;
        self.transport.raise_descriptor_limit();
        let listener = TcpListener::bind(self.listen).await.map_err(|error| {
            Failure::failed(format!(
                "cannot listen on {}: {error}; choose another address with --listen",
                self.listen
            ))
        })?;
        let address = listener.local_addr().unwrap_or(self.listen);
        let clock: Arc<dyn Clock> = match self.accept_clock_jump {
            true => Arc::new(TrustedClock),
            false => Arc::new(SystemClock),
        };
        Gate::open(&auth, clock.clone()).map_err(Failure::Usage)?;
        let connections = telemetry.transport.clone();
        let config = Config {
            limits,
            auth,
            calls: self.limits.of_calls(),
            telemetry,
            drain_delay: self.lifecycle.drain_delay,
            grace: self.lifecycle.grace(),
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
            transport: self.transport.config(tls, connections),
        };
        let failed = |error| Failure::failed(format!("the server failed: {error}"));
        let server = Starting::new(listener, clock.clone(), config)
            .await
            .map_err(failed)?;
        tell(&[NotifyState::Status(&format!("opening the store {}", self.store))]);
        tracing::info!(%address, store = %self.store, "opening the store; health is NOT_SERVING meanwhile");
        let store = tokio::select! {
            store = self.clone().open(clock) => store?,
            _ = stop.changed() => {
                tracing::info!("stopped before the store was open");
                return Ok(());
            }
        };
        let mut life = None;
        let ready = || {
            tracing::info!(%address, "serving");
            drop(writeln!(io::stdout(), "listening on {address}"));
            let status = format!("serving on {address}");
            tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
            life = show_life(store.clone());
        };
        let served = server
            .serve(store.clone(), ready, self.lifecycle.stopped(stop))
            .await;
        life.iter().for_each(JoinHandle::abort);
        served.map_err(failed)
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
}

//! Telemetry of the server: metrics, probes, traces. It is made before the store is open, so that the probes answer from the
//! start.
//!
//! Names are `article_store_<what>_<unit>`, but for those that every process has (`process_…`). Labels come from closed sets:
//! the methods of the API, the codes of gRPC, the languages that the operator named. `deploy/` has a dashboard and alerts
//! over these names.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use self::counters::{AuthFailure, Counters};
pub use self::store::Languages;

use self::rpc::Rpcs;
use self::store::StoreFigures;
use super::transport;

mod counters;
pub mod http;
mod probe;
mod process;
mod rpc;
mod store;
pub mod trace;

/// The prefix of the names.
const PREFIX: &str = "article_store";

/// Whether calls should be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The store is being opened.
    Starting,
    /// Yes.
    Serving,
    /// For reads: the store has too little free space for writes.
    WritesRefused,
    /// The store does not answer.
    StoreDown,
    /// The server stops.
    Draining,
}

impl Readiness {
    const ALL: [Self; 5] = [
        Self::Starting,
        Self::Serving,
        Self::WritesRefused,
        Self::StoreDown,
        Self::Draining,
    ];

    /// Whether calls should be sent here.
    pub fn serves(self) -> bool {
        match self {
            Self::Serving | Self::WritesRefused => true,
            Self::Starting | Self::StoreDown | Self::Draining => false,
        }
    }

    /// For the probe: why not, or that all is well.
    pub fn text(self) -> &'static str {
        match self {
            Self::Starting => "not ready: the store is being opened",
            Self::Serving => "ready",
            Self::WritesRefused => {
                "ready for reads; writes are refused: the volume has less free space than --min-free-bytes"
            }
            Self::StoreDown => "not ready: the store does not answer; the log says why",
            Self::Draining => "not ready: the server is being stopped",
        }
    }
}

/// See the module's page.
pub struct Telemetry {
    registry: Registry,
    readiness: AtomicU8,
    /// Only a restart helps.
    is_dead: AtomicBool,
    ready: Gauge,
    /// The calls.
    pub rpc: Rpcs,
    /// Refusals.
    pub counters: Counters,
    /// Connections and TLS.
    pub transport: transport::Metrics,
    /// The store.
    pub store: Arc<StoreFigures>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new(Languages::default())
    }
}

impl Telemetry {
    /// Telemetry of a server that starts, with these languages apart from the others.
    pub fn new(languages: Languages) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let rpc = Rpcs::register(&mut registry);
        let counters = Counters::register(&mut registry);
        let transport = transport::Metrics::default();
        transport.register(&mut registry);
        let store = Arc::new(StoreFigures::new(languages));
        registry.register_collector(Box::new(store.clone()));
        let ready = Gauge::default();
        registry.register(
            "ready",
            "1 while calls should be sent here, else 0",
            ready.clone(),
        );
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        Self {
            registry,
            readiness: AtomicU8::new(Readiness::Starting as u8),
            is_dead: AtomicBool::new(false),
            ready,
            rpc,
            counters,
            transport,
            store,
        }
    }

    /// Notes whether calls should be sent here.
    pub fn set_readiness(&self, readiness: Readiness) {
        self.readiness.store(readiness as u8, Ordering::Release);
        self.ready.set(i64::from(readiness.serves()));
    }

    /// Notes that only a restart helps; whether that is new.
    pub fn set_dead(&self) -> bool {
        !self.is_dead.swap(true, Ordering::AcqRel)
    }

    /// Whether only a restart helps.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    /// Whether calls should be sent here.
    pub fn readiness(&self) -> Readiness {
        let number = self.readiness.load(Ordering::Acquire);
        let found = Readiness::ALL.into_iter().find(|known| *known as u8 == number);
        found.unwrap_or(Readiness::Starting)
    }

    /// All metrics as text, in the format of OpenMetrics.
    pub fn metrics(&self) -> Result<String, fmt::Error> {
        let mut process = Registry::default();
        process.register_collector(Box::new(process::Process::read()));
        let mut metrics = String::new();
        text::encode_registry(&mut metrics, &self.registry)?;
        text::encode_registry(&mut metrics, &process)?;
        text::encode_eof(&mut metrics)?;
        Ok(metrics)
    }
}

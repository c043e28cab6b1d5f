//! Health of the server as its store goes: gRPC health, readiness and liveness for probes, and the hint to compact.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::telemetry::{Readiness, Telemetry};
use crate::api::{admin, articles, changes, jobs, translations};
use crate::clock::ClockJump;
use crate::pb::admin_service_server::AdminServiceServer;
use crate::pb::article_service_server::ArticleServiceServer;
use crate::pb::change_service_server::ChangeServiceServer;
use crate::pb::translation_job_service_server::TranslationJobServiceServer;
use crate::pb::translation_service_server::TranslationServiceServer;
use crate::store::{Result, Sizes, Store, StoreStatus};

/// The name under which gRPC health says whether writes are accepted.
pub const WRITES: &str = "articlestore.v1.writes";

/// How often the store is asked.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Time between two hints to compact at least.
const HINT_EVERY: Duration = Duration::from_secs(3_600);

/// Publishes the health of a server.
#[derive(Clone)]
pub(super) struct Health {
    reporter: HealthReporter,
    telemetry: Arc<Telemetry>,
}

impl Health {
    pub(super) fn new(reporter: HealthReporter, telemetry: Arc<Telemetry>) -> Self {
        Self { reporter, telemetry }
    }

    /// Says whether calls should be sent here, wherever that is asked.
    pub(super) async fn set(&self, readiness: Readiness) {
        self.telemetry.set_readiness(readiness);
        let serving = |serving| match serving {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for name in [
            "",
            <ArticleServiceServer<articles::Articles> as NamedService>::NAME,
            <TranslationServiceServer<translations::Translations> as NamedService>::NAME,
            <TranslationJobServiceServer<jobs::Jobs> as NamedService>::NAME,
            <ChangeServiceServer<changes::Changes> as NamedService>::NAME,
            <AdminServiceServer<admin::Admin> as NamedService>::NAME,
        ] {
            let status = serving(readiness.serves());
            self.reporter.set_service_status(name, status).await;
        }
        let status = serving(readiness == Readiness::Serving);
        self.reporter.set_service_status(WRITES, status).await;
    }

    /// Asks the store now and then until it is dropped.
    pub(super) async fn watch(self, store: Arc<dyn Store>) {
        let mut probe = interval(PROBE_EVERY);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Readiness::Serving;
        let mut hint = CompactionHint::default();
        loop {
            probe.tick().await;
            let status = store.status().await;
            if let Ok(StoreStatus {
                sizes: Some(sizes), ..
            }) = &status
            {
                hint.watch(sizes);
            }
            let jump = store.clock().wall().err();
            let readiness = readiness_of(&status, jump.is_some());
            if store.needs_restart() && self.telemetry.set_dead() {
                tracing::error!("the store can write again only after a restart; liveness says so");
            }
            if readiness != before {
                report(readiness, &status, jump);
                self.set(readiness).await;
                before = readiness;
            }
            self.telemetry.store.status(status.ok());
        }
    }
}

fn readiness_of(status: &Result<StoreStatus>, has_jumped: bool) -> Readiness {
    match status {
        Err(_) => Readiness::StoreDown,
        Ok(_) if has_jumped => Readiness::WritesRefused,
        Ok(status) if status.sizes.is_some_and(|sizes| sizes.is_full()) => Readiness::WritesRefused,
        Ok(_) => Readiness::Serving,
    }
}

fn report(readiness: Readiness, status: &Result<StoreStatus>, jump: Option<ClockJump>) {
    match (status, jump) {
        (Err(error), _) => tracing::warn!(%error, "the store is down"),
        (Ok(_), Some(jump)) => tracing::error!("writes are refused and no embargo ends; reads go on: {jump}"),
        (Ok(status), None) if readiness == Readiness::WritesRefused => tracing::warn!(
            available_bytes = status.sizes.map(|sizes| sizes.available_bytes),
            floor_bytes = status.sizes.map(|sizes| sizes.floor_bytes),
            "writes are refused: the store's volume has less free space than --min-free-bytes; reads go on"
        ),
        (Ok(_), None) => tracing::warn!("the store serves reads and writes again"),
    }
}

/// The warning that a store takes much more space than its records; the operator decides when to compact.
#[derive(Debug, Default)]
struct CompactionHint {
    warned: Option<Instant>,
}

impl CompactionHint {
    /// Warns when the store becomes bloated, and once an hour while it stays so.
    fn watch(&mut self, sizes: &Sizes) {
        if self.is_due(sizes.is_bloated(), Instant::now()) {
            tracing::warn!(
                disk_bytes = sizes.disk_bytes,
                live_bytes = sizes.live_bytes,
                "the store takes more than four times the bytes of its records; `article-store compact` gives the space \
                 back while the server runs"
            );
        }
    }

    fn is_due(&mut self, is_bloated: bool, now: Instant) -> bool {
        // A store that hovers about the limit is no news either.
        let due = is_bloated
            && self
                .warned
                .is_none_or(|warned| now.duration_since(warned) >= HINT_EVERY);
        if due {
            self.warned = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_comes_when_a_store_becomes_bloated_and_once_an_hour() {
        let (mut hint, start) = (CompactionHint::default(), Instant::now());
        let minute = |minute: u64| start + Duration::from_secs(60 * minute);
        assert!(!hint.is_due(false, minute(0)));
        assert!(hint.is_due(true, minute(1)));
        assert!(!hint.is_due(false, minute(2)));
        assert!(!hint.is_due(true, minute(3)));
        assert!(!hint.is_due(true, minute(60)));
        assert!(hint.is_due(true, minute(61)));
        assert!(!hint.is_due(true, minute(62)));
    }
}

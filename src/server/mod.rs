//! The process around the API: opens the store, serves, and stops in order.
//!
//! The caller binds the listener and owns the signal, so that tests serve on port 0 and stop when they like.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tonic::Status;
use tonic::body::Body;
use tonic::service::{LayerExt, Routes};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;
use tower::ServiceBuilder;
use tower::layer::util::Stack;
use tower::util::MapResponseLayer;

pub use self::layers::CallLimits;
pub use self::log::KeepChanges;

use self::auth::{Gate, GateLayer};
use self::bloat::Bloat;
use self::layers::deadline::DeadlineLayer;
use self::layers::{OuterLayers, panics};
use self::revisions::RevisionSweep;
use self::telemetry::{Readiness, Telemetry};
use crate::api::admin::Admin;
use crate::api::articles::Articles;
use crate::api::changes::Changes;
use crate::api::jobs::Jobs;
use crate::api::translations::Translations;
use crate::api::{Limits, error};
use crate::clock::Clock;
use crate::domain::workflow::SelfReview;
use crate::pb;
use crate::pb::admin_service_server::AdminServiceServer;
use crate::pb::article_service_server::ArticleServiceServer;
use crate::pb::change_service_server::ChangeServiceServer;
use crate::pb::translation_job_service_server::TranslationJobServiceServer;
use crate::pb::translation_service_server::TranslationServiceServer;
use crate::service::Service;
use crate::store::Store;

pub mod auth;
mod bloat;
pub mod context;
pub mod layers;
mod lines;
pub mod location;
mod log;
pub mod methods;
pub mod offline;
mod revisions;
pub mod telemetry;
pub mod transport;

/// How long requests stay recorded for a retry.
const REQUESTS_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How often old requests are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How often the store is asked for embargoes that have ended. They end at most a second late, the commit included.
const LIFT_EVERY: Duration = Duration::from_millis(250);
/// How often health asks the store.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Threads for work that may read the disk. More would only wait for the same disk, and each keeps memory for itself.
const BLOCKING_THREADS: usize = 16;

/// The runtime that a server should run on.
pub fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the API accepts.
    pub limits: Limits,
    /// Who may call.
    pub auth: auth::Config,
    /// What is taken on at once, and for how long.
    pub calls: CallLimits,
    /// Where to write how it goes.
    pub telemetry: Arc<Telemetry>,
    /// How long to serve on after the signal to stop, while health says `NOT_SERVING`.
    pub drain_delay: Duration,
    /// How long running calls may go on after that.
    pub grace: Duration,
    /// Whether an agent may review what it wrote itself.
    pub self_review: SelfReview,
    /// How many revisions of an article keep their text; `None`: all.
    pub keep_revisions: Option<NonZeroU32>,
    /// How much of the change log is kept.
    pub keep_changes: KeepChanges,
    /// How calls come in.
    pub transport: transport::Config,
}

/// Serves until `shutdown` is ready, then stops in order: health says so, everything goes on for the drain delay, no new
/// connections, running calls finish within the grace, the store closes.
pub async fn run(
    listener: TcpListener,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let gate = Arc::new(Gate::open(&config.auth, clock.clone())?);
    let gatekeeper = tokio::spawn(gate.clone().keep());
    panics::hook();
    let telemetry = config.telemetry.clone();
    let (reporter, health) = tonic_health::server::health_reporter();
    serving(&reporter, true).await;
    telemetry.set_readiness(Readiness::Serving);
    let service = Service::new(store.clone(), clock.clone()).with_self_review(config.self_review);
    let kept = (RevisionSweep::new(config.keep_revisions), config.keep_changes);
    let health_of = (reporter.clone(), telemetry.clone());
    let keeper = tokio::spawn(keep(service.clone(), clock.clone(), health_of, kept));
    let figures = telemetry.store.clone();
    let observed = service.clone();
    let observer = tokio::spawn(async move { figures.follow(observed).await });
    let lifter = tokio::spawn(lift_embargoes(service.clone()));
    let drained = service.clone();
    let feeding = service.clone();
    let feeder = tokio::spawn(async move { feeding.feed_changes().await });
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = routes(service, clock.clone(), &config, health)?;
    let calls = ServiceBuilder::new()
        .map_response(|response: http::Response<_>| response.map(Body::new))
        .layer(layers_of_a_call(&config, gate))
        .service(routes);
    let server = transport::serve(listener, calls, config.transport.clone(), clock, async {
        // A dropped sender means the same.
        drop(stopped.await);
    });
    let keeping = keeper.abort_handle();
    let draining = async {
        shutdown.await;
        // It must not say that the store is well again.
        keeper.abort();
        drop(keeper.await);
        telemetry.set_readiness(Readiness::Draining);
        serving(&reporter, false).await;
        tracing::info!(
            drain_delay_seconds = config.drain_delay.as_secs_f64(),
            grace_seconds = config.grace.as_secs_f64(),
            "stopping"
        );
        #[expect(clippy::disallowed_methods, reason = "to wait is what the delay is for")]
        sleep(config.drain_delay).await;
    };
    match select(Box::pin(server), Box::pin(draining)).await {
        Either::Left(((), _)) => {}
        Either::Right(((), server)) => {
            // Watches would go on for ever, and claims for their time.
            drained.begin_drain();
            drop(stop);
            // An idle client or an open stream would hold the server for ever.
            let _ = timeout(config.grace, server).await;
        }
    }
    gatekeeper.abort();
    keeping.abort();
    lifter.abort();
    feeder.abort();
    observer.abort();
    telemetry.store.forget();
    store.close().await?;
    tracing::info!("stopped");
    Ok(())
}

/// What a call goes through before it reaches its handler: how it goes, whether there is room for it, who makes it, and how
/// long it may take.
type Layers = Stack<DeadlineLayer, Stack<GateLayer, OuterLayers>>;

fn layers_of_a_call(config: &Config, gate: Arc<Gate>) -> Layers {
    let outer = layers::outer(&config.calls, &config.telemetry);
    let deadline = DeadlineLayer {
        longest: config.calls.deadline,
    };
    Stack::new(deadline, Stack::new(GateLayer(gate), outer))
}

fn routes(
    service: Service,
    clock: Arc<dyn Clock>,
    config: &Config,
    health: HealthServer<impl Health>,
) -> Result<Routes, tonic_reflection::server::Error> {
    let limits = config.limits;
    // With the details of errors, which generic clients decode by reflection, too.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let blame = MapResponseLayer::new(blame_the_caller as fn(http::Response<Body>) -> http::Response<Body>);
    let admin = AdminServiceServer::new(Admin::new(service.clone(), clock.clone()))
        .max_decoding_message_size(limits.message_bytes);
    let changes = ChangeServiceServer::new(Changes::new(service.clone()))
        .max_decoding_message_size(limits.message_bytes);
    let articles = ArticleServiceServer::new(Articles::new(service.clone(), clock.clone(), limits))
        .max_decoding_message_size(limits.message_bytes);
    let jobs = TranslationJobServiceServer::new(Jobs::new(service.clone(), clock, limits))
        .max_decoding_message_size(limits.message_bytes);
    let translations = TranslationServiceServer::new(Translations::new(service, limits))
        .max_decoding_message_size(limits.message_bytes);
    let routes = Routes::new(blame.named_layer(articles))
        .add_service(blame.named_layer(translations))
        .add_service(blame.named_layer(jobs))
        .add_service(blame.named_layer(changes))
        .add_service(blame.named_layer(admin))
        .add_service(health);
    let routes = match config.auth.reflection {
        true => routes
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?),
        false => routes,
    };
    Ok(routes.prepare())
}

/// Corrects the statuses that tonic gives to broken requests; see [`error::blame_the_caller`].
fn blame_the_caller(response: http::Response<Body>) -> http::Response<Body> {
    let replacement = Status::from_header_map(response.headers())
        .and_then(|status| error::blame_the_caller(status.code(), status.message()));
    match replacement {
        Some(status) => status.into_http(),
        None => response,
    }
}

async fn serving(reporter: &HealthReporter, serving: bool) {
    let status = if serving {
        tonic_health::ServingStatus::Serving
    } else {
        tonic_health::ServingStatus::NotServing
    };
    let names = [
        "",
        <ArticleServiceServer<Articles> as tonic::server::NamedService>::NAME,
        <TranslationServiceServer<Translations> as tonic::server::NamedService>::NAME,
        <TranslationJobServiceServer<Jobs> as tonic::server::NamedService>::NAME,
        <ChangeServiceServer<Changes> as tonic::server::NamedService>::NAME,
        <AdminServiceServer<Admin> as tonic::server::NamedService>::NAME,
    ];
    for name in names {
        reporter.set_service_status(name, status).await;
    }
}

/// Ends embargoes when it is time, those that ended while no server ran first of all.
async fn lift_embargoes(service: Service) {
    let mut tick = interval(LIFT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_failing = false;
    loop {
        tick.tick().await;
        let failed = loop {
            match service.lift_embargoes().await {
                Ok(true) => {}
                Ok(false) => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = failed.as_ref().filter(|_| !was_failing) {
            tracing::warn!(%error, "embargoes cannot be lifted now; it is tried again and again");
        }
        was_failing = failed.is_some();
    }
}

/// Keeps health true to the store, and forgets old requests, changes and revisions.
async fn keep(
    service: Service,
    clock: Arc<dyn Clock>,
    (reporter, telemetry): (HealthReporter, Arc<Telemetry>),
    (mut revisions, changes): (RevisionSweep, KeepChanges),
) {
    let store = service.store();
    let mut probe = interval(PROBE_EVERY);
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweep = interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_serving = true;
    let mut bloat = Bloat::default();
    loop {
        tokio::select! {
            _ = probe.tick() => {
                let status = store.status().await;
                let is_serving = status.is_ok();
                status.iter().for_each(|status| bloat.watch(status));
                telemetry.store.status(status.ok());
                if is_serving != was_serving {
                    tracing::warn!(is_serving, "the store's health changed");
                    serving(&reporter, is_serving).await;
                    telemetry.set_readiness(if is_serving { Readiness::Serving } else { Readiness::StoreDown });
                    was_serving = is_serving;
                }
            }
            _ = sweep.tick() => {
                let kept = i64::try_from(REQUESTS_KEPT.as_micros()).unwrap_or(i64::MAX);
                let now = clock.now();
                let before = now.saturating_add_micros(-kept);
                loop {
                    match store.expire_requests(before).await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => {
                            tracing::warn!(%error, "old requests could not be forgotten; the next sweep tries again");
                            break;
                        }
                    }
                }
                changes.run(&**store, now).await;
                // A replay shows the article as it was: what requests may still ask for is kept.
                revisions.run(&**store, before).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_are_in_order() {
        // Such as `a::Observe<b::Panics<…>>`.
        let stack = std::any::type_name::<<Layers as tower::Layer<()>>::Service>();
        let layers = stack.split('<').map(|name| name.rsplit("::").next().unwrap());
        assert_eq!(
            layers.collect::<Vec<_>>(),
            ["Observe", "Panics", "Shed", "Gated", "Deadline", "()>>>>>"]
        );
    }
}

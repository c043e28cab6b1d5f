//! The server around the API: listens while the store is opened, serves, and stops in order.
//!
//! The caller binds the listener, opens the store and owns the signal, so that tests serve on port 0 and stop when they like.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, FutureExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tonic::service::{LayerExt, Routes};
use tower::Layer;
use tower::util::MapResponseLayer;

pub use self::calls::{CallLayer, CallLimits, CallService};
pub use self::chores::KeepChanges;

use self::auth::Gate;
use self::calls::panics;
use self::chores::Keep;
use self::health::Health;
use self::telemetry::{Readiness, Telemetry};
use crate::api::admin::Admin;
use crate::api::articles::Articles;
use crate::api::changes::Changes;
use crate::api::jobs::Jobs;
use crate::api::translations::Translations;
use crate::api::{Limits, status};
use crate::clock::Clock;
use crate::domain::workflow::SelfReview;
use crate::pb;
use crate::pb::admin_service_server::AdminServiceServer;
use crate::pb::article_service_server::ArticleServiceServer;
use crate::pb::change_service_server::ChangeServiceServer;
use crate::pb::translation_job_service_server::TranslationJobServiceServer;
use crate::pb::translation_service_server::TranslationServiceServer;
use crate::service::{Error, Service};
use crate::store::{Store, StoreError};

pub mod auth;
mod calls;
mod chores;
pub mod context;
mod file_watch;
pub mod health;
mod log_throttle;
pub mod methods;
pub mod offline_admin;
mod rights;
pub mod store_factory;
pub mod telemetry;
pub mod transport;

/// Threads for work that may read the disk. More would only wait for the same disk, and each keeps memory for itself.
const BLOCKING_THREADS: usize = 16;
/// How long the store may take to close where running calls used up the grace.
const LEAST_CLOSING: Duration = Duration::from_secs(5);
/// The paths of gRPC health.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Why a server cannot serve.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

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
    /// Callers and their credentials.
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

/// Serves a store that is open; see [`Starting::serve`].
pub async fn run(
    listener: TcpListener,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let starting = Starting::new(listener, clock, config).await?;
    starting.serve(store, || {}, shutdown).await
}

/// A server whose store is being opened. It listens: health is `NOT_SERVING`, and all other calls are `UNAVAILABLE`.
/// Dropping it ends all connections.
pub struct Starting {
    clock: Arc<dyn Clock>,
    config: Config,
    gate: Arc<Gate>,
    health: Health,
    calls: Calls,
    connections: JoinSet<()>,
    stop: oneshot::Sender<()>,
}

impl Starting {
    /// Begins to listen.
    pub async fn new(listener: TcpListener, clock: Arc<dyn Clock>, config: Config) -> Result<Self, Failure> {
        let gate = Arc::new(Gate::open(&config.auth, clock.clone())?);
        panics::hook();
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let health = Health::new(reporter, config.telemetry.clone());
        health.set(Readiness::Starting).await;
        let calls = Calls {
            health: Routes::new(health_service).prepare(),
            others: Arc::default(),
        };
        let message_bytes = config.limits.message_bytes;
        let telemetry = config.telemetry.clone();
        let layered =
            CallLayer::new(&config.calls, message_bytes, gate.clone(), telemetry).layer(calls.clone());
        let (stop, stopped) = oneshot::channel();
        let mut connections = JoinSet::new();
        connections.spawn(transport::serve(
            listener,
            layered,
            config.transport.clone(),
            clock.clone(),
            // A dropped sender means the same.
            stopped.map(drop),
        ));
        Ok(Self {
            clock,
            config,
            gate,
            health,
            calls,
            connections,
            stop,
        })
    }

    /// Serves the store until `shutdown` is ready, then stops in order: health turns to `NOT_SERVING`, calls are served for
    /// the drain delay, no connections are accepted, running calls finish within the grace, the store closes. `ready` is
    /// called when calls are served.
    pub async fn serve(
        mut self,
        store: Arc<dyn Store>,
        ready: impl FnOnce(),
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let (config, telemetry) = (&self.config, &self.config.telemetry);
        let service = Service::new(store.clone(), self.clock.clone())
            .with_self_review(config.self_review)
            .with_capacity(config.limits.capacity)
            .with_stream_bytes(config.calls.export_bytes, config.calls.import_bytes);
        let keep = Keep {
            revisions: config.keep_revisions,
            changes: config.keep_changes,
        };
        let routes = routes(service.clone(), config)?;
        // It is set once.
        let _ = self.calls.others.set(routes);
        self.health.set(Readiness::Serving).await;
        ready();
        let probing = tokio::spawn(self.health.clone().watch(store.clone()));
        let mut tasks = chores::start(&service, &self.gate, keep);
        telemetry.store.observe(service.clone());
        let feeding = service.clone();
        tasks.spawn(async move { feeding.feed_changes().await });
        shutdown.await;
        // It must not say that the store is well again.
        probing.abort();
        drop(probing.await);
        self.health.set(Readiness::Draining).await;
        tracing::info!(
            drain_delay_seconds = config.drain_delay.as_secs_f64(),
            grace_seconds = config.grace.as_secs_f64(),
            "stopping"
        );
        #[expect(clippy::disallowed_methods, reason = "to wait is what the delay is for")]
        sleep(config.drain_delay).await;
        let end = Instant::now() + config.grace;
        // Watches would last indefinitely, and claims for their time.
        service.begin_drain();
        drop(self.stop);
        // An idle client or an open stream would hold the server up indefinitely.
        if timeout_at(end, self.connections.join_next()).await.is_err() {
            tracing::warn!(
                grace_seconds = config.grace.as_secs_f64(),
                calls = telemetry.rpc.running(),
                "calls that ran longer than the grace were broken off"
            );
        }
        self.connections.shutdown().await;
        tasks.shutdown().await;
        telemetry.store.forget();
        // Acknowledged writes are durable, so a store that cannot close (its engine is being reopened) may be abandoned.
        match timeout_at(end.max(Instant::now() + LEAST_CLOSING), store.close()).await {
            Ok(closed) => closed?,
            Err(_) => {
                tracing::warn!("the store did not close within the grace; the next start reads its log");
            }
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// The calls of a server: health from the start, the others once the store is open.
#[derive(Clone)]
struct Calls {
    health: Routes,
    others: Arc<OnceLock<Routes>>,
}

impl tower::Service<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<
        <Routes as tower::Service<http::Request<Body>>>::Future,
        Ready<Result<Self::Response, Infallible>>,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let routes = match request.uri().path().starts_with(HEALTH) {
            true => Some(&self.health),
            false => self.others.get(),
        };
        match routes {
            Some(routes) => Either::Left(routes.clone().call(request)),
            None => {
                let reason = "the store is being opened".to_owned();
                let status = Status::from(Error::Store(StoreError::Unavailable { reason }));
                Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

fn routes(service: Service, config: &Config) -> Result<Routes, tonic_reflection::server::Error> {
    let limits = config.limits;
    // With the details of errors, which generic clients decode by reflection, too.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let blame = MapResponseLayer::new(blame_the_caller as fn(http::Response<Body>) -> http::Response<Body>);
    let admin =
        AdminServiceServer::new(Admin::new(service.clone())).max_decoding_message_size(limits.message_bytes);
    let changes = ChangeServiceServer::new(Changes::new(service.clone()))
        .max_decoding_message_size(limits.message_bytes);
    let articles = ArticleServiceServer::new(Articles::new(service.clone(), limits))
        .max_decoding_message_size(limits.message_bytes);
    let jobs = TranslationJobServiceServer::new(Jobs::new(service.clone(), limits))
        .max_decoding_message_size(limits.message_bytes);
    let translations = TranslationServiceServer::new(Translations::new(service, limits))
        .max_decoding_message_size(limits.message_bytes);
    let routes = Routes::new(blame.named_layer(articles))
        .add_service(blame.named_layer(translations))
        .add_service(blame.named_layer(jobs))
        .add_service(blame.named_layer(changes))
        .add_service(blame.named_layer(admin));
    let routes = match config.auth.reflection {
        true => routes
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?),
        false => routes,
    };
    Ok(routes.prepare())
}

/// Corrects the statuses that tonic gives to broken requests; see [`status::blame_the_caller`].
fn blame_the_caller(response: http::Response<Body>) -> http::Response<Body> {
    let replacement = Status::from_header_map(response.headers())
        .and_then(|status| status::blame_the_caller(status.code(), status.message()));
    match replacement {
        Some(status) => status.into_http(),
        None => response,
    }
}

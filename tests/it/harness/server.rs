//! A real server in this process on port 0, over sled in a temporary directory or over memory, with the generated clients.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on panics"
)]

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use article_store::api::Limits;
use article_store::clock::{Clock, SystemClock};
use article_store::domain::access::{Range, Right, Scope, Scopes};
use article_store::domain::change::Event;
use article_store::domain::time::Timestamp;
use article_store::domain::workflow::SelfReview;
use article_store::pb;
use article_store::pb::admin_service_client::AdminServiceClient;
use article_store::pb::article_service_client::ArticleServiceClient;
use article_store::pb::change_service_client::ChangeServiceClient;
use article_store::pb::translation_job_service_client::TranslationJobServiceClient;
use article_store::pb::translation_service_client::TranslationServiceClient;
use article_store::server::store_factory::{StoreLocation, StoreOptions};
use article_store::server::telemetry::Telemetry;
use article_store::server::{self, CallLimits, KeepChanges, auth, transport};
use article_store::store::Store;
use http_body_util::{BodyExt, Full};
use prost::bytes::Bytes;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use super::{ARTICLE_BYTES, LIMIT};

/// What a server is started with.
pub(crate) struct Setup {
    location: StoreLocation,
    /// Removed when the server and its setup are gone.
    directory: Option<TempDir>,
    clock: Arc<dyn Clock>,
    auth: auth::Config,
    keep_revisions: Option<NonZeroU32>,
    keep_changes: KeepChanges,
    transport: transport::Config,
    calls: CallLimits,
    limits: Limits,
    telemetry: Arc<Telemetry>,
}

impl Setup {
    /// Over memory.
    pub(crate) fn memory() -> Self {
        Self::over(StoreLocation::Memory)
    }

    /// Over sled in a new directory.
    pub(crate) fn sled() -> Self {
        Self::again(tempfile::tempdir().unwrap())
    }

    /// Over sled in the `data` of a directory, which another server may have left.
    pub(crate) fn again(directory: TempDir) -> Self {
        let setup = Self::sled_in(&directory.path().join("data"));
        Self {
            directory: Some(directory),
            ..setup
        }
    }

    /// Over sled in a directory that the caller keeps.
    pub(crate) fn sled_in(directory: &Path) -> Self {
        Self::over(StoreLocation::Sled(directory.to_path_buf()))
    }

    fn over(location: StoreLocation) -> Self {
        Self {
            location,
            directory: None,
            clock: Arc::new(SystemClock),
            auth: auth::Config::default(),
            keep_revisions: None,
            keep_changes: KeepChanges::default(),
            transport: transport::Config::default(),
            calls: CallLimits::default(),
            limits: Limits {
                article_bytes: ARTICLE_BYTES,
                shortest_lease_micros: 1_000,
                ..Limits::default()
            },
            telemetry: Arc::default(),
        }
    }

    /// With these limits.
    pub(crate) fn calls(self, calls: CallLimits) -> Self {
        Self { calls, ..self }
    }

    /// With these limits of requests.
    pub(crate) fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Writing how it goes there.
    pub(crate) fn telemetry(self, telemetry: Arc<Telemetry>) -> Self {
        Self { telemetry, ..self }
    }

    /// With this clock.
    pub(crate) fn clock(self, clock: impl Clock) -> Self {
        Self {
            clock: Arc::new(clock),
            ..self
        }
    }

    /// Keeping so much of the change log.
    pub(crate) fn keep_changes(self, keep_changes: KeepChanges) -> Self {
        Self { keep_changes, ..self }
    }

    /// Sets the number of revisions whose texts are kept.
    pub(crate) fn keep_revisions(self, revisions: Option<NonZeroU32>) -> Self {
        Self {
            keep_revisions: revisions,
            ..self
        }
    }

    /// With these limits of connections.
    pub(crate) fn transport(self, transport: transport::Config) -> Self {
        Self { transport, ..self }
    }

    /// With these rights for everybody, besides those that everybody has.
    pub(crate) fn scopes(self, rights: &[Right]) -> Self {
        let held = |right: &Right| Scopes::open().grant(*right) || rights.contains(right);
        let scope = |right: Right| match right.is_by_language() {
            true => Scope::In(right, Range::Any),
            false => Scope::Whole(right),
        };
        let auth = auth::Config {
            anonymous: Some(Right::ALL.into_iter().filter(held).map(scope).collect()),
            ..self.auth
        };
        Self { auth, ..self }
    }

    /// Where only these may call.
    pub(crate) fn auth(self, auth: auth::Config) -> Self {
        Self { auth, ..self }
    }

    /// Opens the store and starts the server.
    pub(crate) async fn start(self) -> Server {
        let options = StoreOptions {
            cache_bytes: 16 << 20,
            min_free_bytes: Some(0),
        };
        let store = self.location.open(options, self.clock.clone());
        self.start_over(store.expect("the store opens")).await
    }

    /// Starts the server over a store that the test made, which stops with the server.
    pub(crate) async fn start_over(self, store: Arc<dyn Store>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let config = server::Config {
            limits: self.limits,
            auth: self.auth.clone(),
            calls: self.calls,
            telemetry: self.telemetry.clone(),
            drain_delay: Duration::ZERO,
            grace: Duration::from_secs(1),
            self_review: SelfReview::Refused,
            keep_revisions: self.keep_revisions,
            keep_changes: self.keep_changes,
            transport: self.transport.clone(),
        };
        let run = server::run(listener, store.clone(), self.clock.clone(), config, async {
            drop(stopped.await);
        });
        let running = tokio::spawn(async { run.await.map_err(|error| error.to_string()) });
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();
        Server {
            store,
            address,
            channel,
            setup: self,
            stop,
            running,
        }
    }
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) address: SocketAddr,
    channel: Channel,
    setup: Setup,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), String>>,
}

impl Server {
    /// Over memory.
    pub(crate) async fn memory() -> Self {
        Setup::memory().start().await
    }

    /// Over sled in a new directory.
    pub(crate) async fn sled() -> Self {
        Setup::sled().start().await
    }

    /// Stops in order, and starts again on the same directory and another port.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|setup| setup).await
    }

    /// The same, with something else.
    pub(crate) async fn restart_with(self, other: impl FnOnce(Setup) -> Setup) -> Self {
        other(self.halt().await).start().await
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        drop(self.halt().await);
    }

    /// Stops in order and answers the directory, whose `data` is the store.
    pub(crate) async fn leave(self) -> TempDir {
        let setup = self.halt().await;
        setup.directory.expect("the store is on disk")
    }

    async fn halt(self) -> Setup {
        drop((self.channel, self.store));
        self.stop.send(()).expect("the server runs");
        let ended = tokio::time::timeout(LIMIT, self.running)
            .await
            .expect("the server stops in time");
        ended
            .expect("the server does not panic")
            .expect("the server stops well");
        self.setup
    }

    /// A connection of its own, made at the first call.
    pub(crate) fn new_channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect_lazy()
    }

    /// A connection of its own that takes no more than this of a stream before it is read.
    pub(crate) fn narrow_channel(&self, window: u32) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.initial_stream_window_size(window).connect_lazy()
    }

    /// What the server writes of itself.
    pub(crate) fn telemetry(&self) -> Arc<Telemetry> {
        self.setup.telemetry.clone()
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn articles(&self) -> ArticleServiceClient<Channel> {
        ArticleServiceClient::new(self.channel())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel())
    }

    pub(crate) fn translations(&self) -> TranslationServiceClient<Channel> {
        TranslationServiceClient::new(self.channel())
    }

    pub(crate) fn jobs(&self) -> TranslationJobServiceClient<Channel> {
        TranslationJobServiceClient::new(self.channel())
    }

    pub(crate) fn changes(&self) -> ChangeServiceClient<Channel> {
        ChangeServiceClient::new(self.channel())
    }

    /// The number of the newest commit.
    pub(crate) async fn seq(&self) -> u64 {
        self.store.status().await.unwrap().seq
    }

    /// The time of the newest commit.
    pub(crate) async fn newest_commit(&self) -> Timestamp {
        let seq = self.seq().await;
        let changes = self.store.changes(seq - 1, 1).await.unwrap();
        changes.commits.last().unwrap().stamp.time
    }

    /// All events after a commit.
    pub(crate) async fn events_after(&self, seq: u64) -> Vec<Event> {
        let changes = self.store.changes(seq, usize::MAX).await.unwrap();
        changes
            .commits
            .into_iter()
            .flat_map(|commit| commit.events)
            .collect()
    }

    /// Everything that the store holds, by export.
    pub(crate) async fn export(&self) -> Vec<pb::ExportArticlesResponse> {
        let request = pb::ExportArticlesRequest {
            include_translations: true,
            show_deleted: true,
            ..Default::default()
        };
        let mut stream = self
            .articles()
            .export_articles(request)
            .await
            .unwrap()
            .into_inner();
        let mut items = Vec::new();
        while let Some(item) = stream.message().await.unwrap() {
            items.push(item);
        }
        items
    }

    /// Asserts that all indexes agree with what they are made from.
    pub(crate) async fn check(&self) {
        assert_eq!(self.store.check().await.unwrap(), []);
    }

    /// Sends bytes as the body of a call and answers the first message, as bytes.
    pub(crate) async fn raw(&self, path: &str, body: Vec<u8>) -> Result<Bytes, Status> {
        let request = http::Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(tonic::body::Body::new(Full::new(Bytes::from(body))))
            .unwrap();
        let mut channel = self.channel();
        let response = channel.ready().await.unwrap().call(request).await.unwrap();
        if let Some(status) = Status::from_header_map(response.headers()) {
            return Err(status);
        }
        let collected = response.into_body().collect().await?;
        let status = collected.trailers().and_then(Status::from_header_map);
        match status {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(collected.to_bytes().slice(5..)),
        }
    }
}

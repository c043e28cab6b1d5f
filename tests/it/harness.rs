//! A real server for the tests: on port 0 in this process, over sled in a temporary directory or over memory, with the
//! generated clients and a way to send what no generated client would.
//!
//! It never sleeps: what takes time is awaited with [`LIMIT`].
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on panics"
)]

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use crate::random::Random;
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
use h2::RecvStream;
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use prost::bytes::Bytes;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};

/// How long anything may take before a test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The largest article that the servers of the tests take.
pub(crate) const ARTICLE_BYTES: usize = 2 << 20;

/// What a server is started with.
#[derive(Clone)]
pub(crate) struct Setup {
    location: StoreLocation,
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
    fn over(location: StoreLocation) -> Self {
        Self {
            location,
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
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) address: SocketAddr,
    channel: Channel,
    setup: Setup,
    directory: Option<TempDir>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), String>>,
}

impl Server {
    /// Over memory.
    pub(crate) async fn memory() -> Self {
        Self::start(Setup::over(StoreLocation::Memory), None).await
    }

    /// Over memory, started with something else.
    pub(crate) async fn memory_with(setup: impl FnOnce(Setup) -> Setup) -> Self {
        Self::start(setup(Setup::over(StoreLocation::Memory)), None).await
    }

    /// Over sled in a new directory.
    pub(crate) async fn sled() -> Self {
        Self::sled_with(|setup| setup).await
    }

    /// Over sled in a directory that the caller keeps.
    pub(crate) async fn over(directory: &Path) -> Self {
        let location = StoreLocation::Sled(directory.to_path_buf());
        Self::start(Setup::over(location), None).await
    }

    /// Over sled in the `data` of a directory that another server left.
    pub(crate) async fn again(directory: TempDir) -> Self {
        let location = StoreLocation::Sled(directory.path().join("data"));
        Self::start(Setup::over(location), Some(directory)).await
    }

    /// Over sled in a directory that the caller keeps, with so many revisions that keep their text.
    pub(crate) async fn keeping(directory: &Path, clock: impl Clock, revisions: Option<NonZeroU32>) -> Self {
        let setup = Setup {
            keep_revisions: revisions,
            ..Setup::over(StoreLocation::Sled(directory.to_path_buf()))
        };
        Self::start(setup.clock(clock), None).await
    }

    /// Over sled in a new directory, started with something else.
    pub(crate) async fn sled_with(setup: impl FnOnce(Setup) -> Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = StoreLocation::Sled(directory.path().join("data"));
        Self::start(setup(Setup::over(location)), Some(directory)).await
    }

    async fn start(setup: Setup, directory: Option<TempDir>) -> Self {
        let options = StoreOptions {
            cache_bytes: 16 << 20,
            min_free_bytes: Some(0),
        };
        let clock = setup.clock.clone();
        let store = setup
            .location
            .open(options, clock.clone())
            .expect("the store opens");
        Self::serve(store, setup, directory).await
    }

    /// Over a store that the test made, which stops with the server.
    pub(crate) async fn over_store(store: Arc<dyn Store>, setup: impl FnOnce(Setup) -> Setup) -> Self {
        Self::serve(store, setup(Setup::over(StoreLocation::Memory)), None).await
    }

    async fn serve(store: Arc<dyn Store>, setup: Setup, directory: Option<TempDir>) -> Self {
        let clock = setup.clock.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let config = server::Config {
            limits: setup.limits,
            auth: setup.auth.clone(),
            calls: setup.calls,
            telemetry: setup.telemetry.clone(),
            drain_delay: Duration::ZERO,
            grace: Duration::from_secs(1),
            self_review: SelfReview::Refused,
            keep_revisions: setup.keep_revisions,
            keep_changes: setup.keep_changes,
            transport: setup.transport.clone(),
        };
        let run = server::run(listener, store.clone(), clock, config, async {
            drop(stopped.await);
        });
        let running = tokio::spawn(async { run.await.map_err(|error| error.to_string()) });
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();
        Self {
            store,
            address,
            channel,
            setup,
            directory,
            stop,
            running,
        }
    }

    /// Stops in order, and starts again on the same directory and another port.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|setup| setup).await
    }

    /// The same, with something else.
    pub(crate) async fn restart_with(self, other: impl FnOnce(Setup) -> Setup) -> Self {
        let (setup, directory) = self.halt().await;
        Self::start(other(setup), directory).await
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        drop(self.halt().await);
    }

    /// Stops in order and answers the directory, whose `data` is the store.
    pub(crate) async fn leave(self) -> TempDir {
        let (_, directory) = self.halt().await;
        directory.expect("the store is on disk")
    }

    async fn halt(self) -> (Setup, Option<TempDir>) {
        drop((self.channel, self.store));
        self.stop.send(()).expect("the server runs");
        let ended = tokio::time::timeout(LIMIT, self.running)
            .await
            .expect("the server stops in time");
        ended
            .expect("the server does not panic")
            .expect("the server stops well");
        (self.setup, self.directory)
    }

    /// A connection of its own, made at the first call.
    pub(crate) fn new_channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect_lazy()
    }

    /// What the server writes of itself.
    pub(crate) fn telemetry(&self) -> Arc<Telemetry> {
        self.setup.telemetry.clone()
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A client that takes no more than this of a stream before it is read.
    pub(crate) fn narrow_articles(&self, window: u32) -> ArticleServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        ArticleServiceClient::new(endpoint.initial_stream_window_size(window).connect_lazy())
    }

    pub(crate) fn articles(&self) -> ArticleServiceClient<Channel> {
        ArticleServiceClient::new(self.channel())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel())
    }

    /// The same with a connection of its own that takes no more than this of a stream before it is read.
    pub(crate) fn narrow_admin(&self, window: u32) -> AdminServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        AdminServiceClient::new(endpoint.initial_stream_window_size(window).connect_lazy())
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

    /// The same with a connection of its own that takes no more than this of a stream before it is read.
    pub(crate) fn narrow_changes(&self, window: u32) -> ChangeServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        ChangeServiceClient::new(endpoint.initial_stream_window_size(window).connect_lazy())
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

/// A call by hand, on a connection of its own: tonic's client has a timer of its own, and reads streams ahead.
pub(crate) struct BareCall {
    /// Of the answer.
    pub(crate) headers: HeaderMap,
    body: Option<RecvStream>,
    _connection: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl BareCall {
    /// Begins a call with these headers and this message.
    pub(crate) async fn begin(
        server: &Server,
        path: &str,
        headers: &[(&str, &str)],
        message: &impl prost::Message,
    ) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = AbortOnDrop(tokio::spawn(async { drop(connection.await) }));
        let mut request = http::Request::post(format!("http://{}{path}", server.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(frame(&message.encode_to_vec()).into(), true)
            .unwrap();
        let (head, body) = within(answer).await.unwrap().into_parts();
        Self {
            headers: head.headers,
            body: (!body.is_end_stream()).then_some(body),
            _connection: connection,
        }
    }

    /// The status that the call ends with, whatever it answers before, and the headers or trailers that hold it.
    pub(crate) async fn end(mut self) -> (Status, HeaderMap) {
        let Some(mut body) = self.body.take() else {
            return (
                Status::from_header_map(&self.headers).unwrap(),
                self.headers.clone(),
            );
        };
        while let Some(data) = within(body.data()).await {
            let length = data.unwrap().len();
            body.flow_control().release_capacity(length).unwrap();
        }
        let trailers = within(body.trailers()).await.unwrap().expect("trailers");
        (Status::from_header_map(&trailers).unwrap(), trailers)
    }
}

/// What is ready in time.
pub(crate) async fn within<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(LIMIT, work).await.expect("in time")
}

/// Waits until something holds.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    within(async {
        while !holds() {
            looks.tick().await;
        }
    })
    .await;
}

/// A gRPC frame.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// An error as a caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) retry: bool,
}

impl Failure {
    /// The paths of the fields to blame, in the order of the answer.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.fields.iter().map(|(path, _)| path.as_str()).collect()
    }
}

/// What gRPC libraries take of headers and trailers unless told otherwise.
const METADATA_LIMIT: usize = 8 << 10;

/// What must not be in a text for callers, whatever went wrong: where the server's files are, what its libraries and its
/// source say, and what proves who somebody is.
const SECRETS: [&str; 15] = [
    "/tmp",
    "/home",
    "/var/",
    "/proc",
    "/root",
    "/data",
    "os error",
    "sled",
    ".rs:",
    "panicked",
    "RUST_BACKTRACE",
    "-token",
    "eyJ",
    "-----BEGIN",
    "stack backtrace",
];

/// Asserts that a text can be shown to anybody.
#[track_caller]
fn leaks_nothing(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret:?} is in {text:?}");
    }
    let temp = std::env::temp_dir();
    assert!(!text.contains(&*temp.to_string_lossy()), "{text:?}");
}

/// Takes a status apart, after asserting what holds for every error: an `ErrorInfo` of our domain with a reason of our
/// enum, and a size that every client takes.
pub(crate) fn failure(status: &Status) -> Failure {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "articlestore.v1");
    leaks_nothing(status.message());
    info.metadata.values().for_each(|value| leaks_nothing(value));
    let known = pb::ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason));
    assert!(known.is_some(), "{:?} is not a reason", info.reason);
    let encoded_message: usize = status
        .message()
        .bytes()
        .map(|byte| {
            if (0x20..0x7F).contains(&byte) && byte != b'%' {
                1
            } else {
                3
            }
        })
        .sum();
    let bytes = encoded_message + status.details().len().div_ceil(3) * 4;
    assert!(bytes < METADATA_LIMIT, "{bytes} bytes of error: {status:?}");
    Failure {
        code: status.code(),
        reason: info.reason.clone(),
        message: status.message().to_owned(),
        metadata: info.metadata.clone(),
        fields: details
            .bad_request()
            .into_iter()
            .flat_map(|bad| &bad.field_violations)
            .map(|violation| (violation.field.clone(), violation.description.clone()))
            .collect(),
        retry: details.retry_info().is_some(),
    }
}

/// The failure of a call that must fail.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, Status>) -> Failure {
    match answer {
        Ok(answer) => panic!("answered instead of refused: {:?}", answer.into_inner()),
        Err(status) => failure(&status),
    }
}

/// Asserts that a call is refused for these fields and no others.
#[track_caller]
pub(crate) fn blames<T: std::fmt::Debug>(
    answer: Result<tonic::Response<T>, Status>,
    paths: &[&str],
) -> Failure {
    let failure = refused(answer);
    assert_eq!(failure.code, Code::InvalidArgument, "{failure:?}");
    assert_eq!(failure.reason, "BAD_FIELD", "{failure:?}");
    assert_eq!(failure.paths(), paths, "{failure:?}");
    for (path, description) in &failure.fields {
        assert!(!description.is_empty() && description.len() < 2_000, "{path}");
    }
    failure
}

/// Asserts code and reason of a refused call.
#[track_caller]
pub(crate) fn fails<T: std::fmt::Debug>(
    answer: Result<tonic::Response<T>, Status>,
    code: Code,
    reason: &str,
) -> Failure {
    let failure = refused(answer);
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (code, reason),
        "{failure:?}"
    );
    failure
}

/// A file of the real data; `None` where tests without it are waived. It is in the folder that ARTICLE_STORE_TEST_DATA
/// names, or in `../shared/data`.
pub(crate) fn real_data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ARTICLE_STORE_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    waived(
        "ARTICLE_STORE_TEST_SKIP_DATA",
        &format!("{} is absent", path.display()),
    );
    None
}

/// Fails a test that lacks something, unless the variable waives such tests: a run must not pass by testing less.
#[track_caller]
pub(crate) fn waived(variable: &str, lacking: &str) {
    let is_waived = std::env::var(variable).is_ok_and(|value| value == "1");
    assert!(
        is_waived,
        "{lacking}; {variable}=1 leaves out the tests that need it"
    );
}

/// The lines of a compressed file of the real data.
pub(crate) fn shared_lines(name: &str) -> Option<Vec<String>> {
    let path = real_data(name)?;
    let output = Command::new("xz")
        .arg("-dc")
        .arg(&path)
        .stderr(Stdio::inherit())
        .output()
        .expect("xz is installed");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

/// A text that does not become small by compression.
pub(crate) fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed + 1;
    let mut text = String::with_capacity(bytes + 8);
    while text.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.extend((4..10).map(|place| char::from(b'0' + (state >> (6 * place) & 63) as u8)));
    }
    text
}

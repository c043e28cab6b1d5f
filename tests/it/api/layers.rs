//! What happens to a call around its handler: its id, a panic, an overload, a deadline, a caller that goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use article_store::clock::{Clock, SystemClock};
use article_store::domain::time::Timestamp;
use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use article_store::server::CallLimits;
use article_store::server::context::CallContext;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use uuid::Uuid;

use super::{article, create, get, jobs};
use crate::harness::{BareCall, Server, Setup, eventually, fails, failure, within};
use crate::store::disk::Disk;

const GET: &str = "/articlestore.v1.ArticleService/GetArticle";
pub(super) const CREATE: &str = "/articlestore.v1.ArticleService/CreateArticle";
const WATCH: &str = "/articlestore.v1.ChangeService/WatchChanges";

pub(super) fn get_request(id: &str) -> pb::GetArticleRequest {
    pb::GetArticleRequest {
        article_id: id.into(),
        ..Default::default()
    }
}

pub(super) fn create_request(id: &str) -> pb::CreateArticleRequest {
    pb::CreateArticleRequest {
        article: Some(article(id, &["نص"])),
        ..Default::default()
    }
}

/// The value of a series.
fn metric(server: &Server, series: &str) -> Option<f64> {
    let metrics = server.telemetry().metrics().unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.map(|value| value.trim().parse().unwrap())
}

/// How many calls of a method ended with a code.
fn ended(server: &Server, method: &str, code: &str) -> f64 {
    let labels = format!("{{method=\"{method}\",code=\"{code}\"}}");
    metric(
        server,
        &format!("article_store_rpc_duration_seconds_count{labels}"),
    )
    .unwrap_or(0.0)
}

fn in_flight(server: &Server, kind: &str) -> f64 {
    metric(
        server,
        &format!("article_store_rpcs_in_flight{{kind=\"{kind}\"}}"),
    )
    .unwrap()
}

/// A server whose disk the test can hold up, so that writes take as long as it likes.
pub(super) async fn slow_server(disk: &Disk, calls: CallLimits) -> Server {
    Setup::memory().calls(calls).start_over(disk.store()).await
}

/// A write that the disk holds up.
pub(super) async fn held_write(
    server: &Server,
    disk: &Disk,
    id: &str,
) -> tokio::task::JoinHandle<Result<(), Status>> {
    disk.hold();
    let (mut articles, request) = (server.articles(), create_request(id));
    let write = tokio::spawn(async move { articles.create_article(request).await.map(drop) });
    eventually(|| disk.is_syncing()).await;
    write
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_keeps_its_callers_id_or_gets_one() {
    let server = Server::memory().await;
    create(&server, article("a", &["نص"])).await;
    for (id, code) in [("a", Code::Ok), ("b", Code::NotFound)] {
        let sane = [("x-request-id", "desk-7/a")];
        let call = BareCall::begin(&server, GET, &sane, &get_request(id)).await;
        assert_eq!(call.headers["x-request-id"], "desk-7/a");
        let (status, end) = call.end().await;
        assert_eq!(status.code(), code);
        // Who is given an error finds the id with it.
        assert_eq!(code != Code::Ok, end.contains_key("x-request-id"));
        for unfit in [vec![], vec![("x-request-id", "two words")]] {
            let call = BareCall::begin(&server, GET, &unfit, &get_request(id)).await;
            let made = call.headers["x-request-id"].to_str().unwrap();
            assert!(Uuid::parse_str(made).is_ok(), "{made:?}");
        }
    }
    // The error of a stream has it in its trailers, and the generated client shows it.
    let token = pb::WatchChangesRequest {
        start: pb::WatchStart::Snapshot.into(),
        ..Default::default()
    };
    let mut request = Request::new(token);
    request
        .metadata_mut()
        .insert("x-request-id", "w1".parse().unwrap());
    let mut watch = server.changes().watch_changes(request).await.unwrap();
    assert_eq!(watch.metadata().get("x-request-id").unwrap(), "w1");
    let ended = within(async {
        loop {
            if let Err(error) = watch.get_mut().message().await {
                return error;
            }
        }
    });
    // The server ends the watch when it stops.
    let ((), error) = futures::join!(server.stop(), ended);
    assert_eq!(error.metadata().get("x-request-id").unwrap(), "w1");
    assert_eq!(failure(&error).reason, "STORE_UNAVAILABLE");
}

/// A clock that can be broken for the handlers of calls.
#[derive(Clone, Default)]
pub(super) struct BrokenClock(Arc<AtomicBool>);

impl BrokenClock {
    pub(super) fn set_broken(&self, broken: bool) {
        self.0.store(broken, Ordering::Relaxed);
    }
}

impl Clock for BrokenClock {
    fn uptime(&self) -> Duration {
        Duration::ZERO
    }

    fn now(&self) -> Timestamp {
        let is_call = CallContext::current().is_some();
        assert!(
            !(is_call && self.0.load(Ordering::Relaxed)),
            "the clock has stopped"
        );
        SystemClock.now()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_the_answer_to_its_call_alone() {
    let clock = BrokenClock::default();
    let server = Setup::memory()
        .clock(clock.clone())
        .start_over(Disk::default().store())
        .await;
    create(&server, article("a", &["نص"])).await;
    let panics = || metric(&server, "article_store_panics_total").unwrap();
    let before = panics();
    clock.set_broken(true);
    let mut articles = server.articles();
    let list = articles.list_articles(pb::ListArticlesRequest::default());
    let failed = fails(list.await, Code::Internal, "INTERNAL");
    assert_eq!(failed.message, "internal error; the server's log has the details");
    assert!(panics() > before, "it is counted");
    assert_eq!(ended(&server, "ArticleService/ListArticles", "INTERNAL"), 1.0);
    // The connection and everything else go on, and so does the method when the bug is gone.
    assert_eq!(
        articles
            .get_article(get_request("a"))
            .await
            .unwrap()
            .into_inner()
            .article
            .unwrap()
            .revision,
        1
    );
    clock.set_broken(false);
    let listed = articles.list_articles(pb::ListArticlesRequest::default()).await;
    assert_eq!(listed.unwrap().into_inner().articles.len(), 1);
    assert_eq!(in_flight(&server, "short"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_is_refused_at_once() {
    let disk = Disk::default();
    let calls = CallLimits {
        in_flight: 1,
        long_calls: 1,
        ..CallLimits::default()
    };
    let server = slow_server(&disk, calls).await;
    create(&server, article("a", &["نص"])).await;
    let write = held_write(&server, &disk, "b").await;
    assert_eq!(in_flight(&server, "short"), 1.0);
    // On other connections too, for all calls share the limit.
    let call = BareCall::begin(&server, GET, &[("x-request-id", "r1")], &get_request("a")).await;
    assert_eq!(call.headers["x-request-id"], "r1");
    let refused = failure(&call.end().await.0);
    assert_eq!(
        (refused.code, &*refused.reason),
        (Code::ResourceExhausted, "OVERLOADED")
    );
    assert!(refused.retry, "{refused:?}");
    let metadata =
        |limit_of: &str| [("limit", "1"), ("limit_of", limit_of)].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(refused.metadata, metadata("calls").into());
    // Health goes on, and so do operators' calls and a watch, which count apart.
    let status = server.admin().get_status(pb::GetStatusRequest::default()).await;
    status.unwrap();
    let mut health = HealthClient::new(server.channel());
    health.check(HealthCheckRequest::default()).await.unwrap();
    let mut first = server
        .changes()
        .watch_changes(pb::WatchChangesRequest::default())
        .await
        .unwrap();
    within(first.get_mut().message()).await.unwrap().unwrap();
    let second = server
        .changes()
        .watch_changes(pb::WatchChangesRequest::default())
        .await;
    let refused = fails(second, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(refused.metadata, metadata("streams and claims").into());
    let claim = server.jobs().claim_jobs(jobs::claim_all()).await;
    fails(claim, Code::ResourceExhausted, "OVERLOADED");

    // When there is room again, calls are served again.
    disk.release();
    within(write).await.unwrap().unwrap();
    assert_eq!(get(&server, "b").await.revision, 1);
    drop(first);
    eventually(|| in_flight(&server, "long") == 0.0).await;
    server.jobs().claim_jobs(jobs::claim_all()).await.unwrap();
    let shed = |kind| {
        metric(
            &server,
            &format!("article_store_rpcs_shed_total{{kind=\"{kind}\"}}"),
        )
    };
    assert_eq!((shed("short"), shed("long")), (Some(1.0), Some(2.0)));
    assert_eq!(
        ended(&server, "ArticleService/GetArticle", "RESOURCE_EXHAUSTED"),
        1.0
    );
}

/// Begins calls whose messages do not come, on a connection of their own.
async fn bodiless(server: &Server, path: &str, calls: usize) -> Bodiless {
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(async { drop(connection.await) });
    let (mut bodies, mut answers) = (Vec::new(), Vec::new());
    for number in 0..calls {
        let request = http::Request::post(format!("http://{}{path}", server.address))
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        sender = within(sender.ready()).await.unwrap();
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        if number % 2 == 1 {
            // Half a message.
            body.send_data(vec![0, 0, 0, 0, 9, 1].into(), false).unwrap();
        }
        bodies.push(body);
        answers.push(answer);
    }
    Bodiless {
        answers,
        _bodies: bodies,
        _sender: sender,
        connection,
    }
}

struct Bodiless {
    answers: Vec<h2::client::ResponseFuture>,
    _bodies: Vec<h2::SendStream<prost::bytes::Bytes>>,
    _sender: h2::client::SendRequest<prost::bytes::Bytes>,
    connection: tokio::task::JoinHandle<()>,
}

impl Bodiless {
    /// What each is answered with.
    async fn ends(self) -> Vec<Status> {
        let mut ends = Vec::new();
        for answer in self.answers {
            let headers = within(answer).await.unwrap().headers().clone();
            ends.push(Status::from_header_map(&headers).unwrap());
        }
        self.connection.abort();
        ends
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_whose_messages_do_not_come_take_no_place_and_end_soon() {
    for (receive_timeout, ends) in [
        (Duration::from_secs(600), false),
        (Duration::from_millis(300), true),
    ] {
        let calls = CallLimits {
            in_flight: 4,
            admin_calls: 2,
            receive_timeout,
            ..CallLimits::default()
        };
        let server = slow_server(&Disk::default(), calls).await;
        create(&server, article("a", &["نص"])).await;
        let short = bodiless(&server, GET, 60).await;
        let long = bodiless(&server, WATCH, 20).await;
        let admin = bodiless(&server, "/articlestore.v1.AdminService/GetStatus", 10).await;
        if !ends {
            // All are there, and everybody is served.
            eventually(|| in_flight(&server, "short") + in_flight(&server, "long") == 90.0).await;
            get(&server, "a").await;
            let status = server.admin().get_status(pb::GetStatusRequest::default()).await;
            status.unwrap();
            continue;
        }
        for waiting in [short, long, admin] {
            for status in waiting.ends().await {
                let ended = failure(&status);
                assert_eq!(
                    (ended.code, &*ended.reason, &*ended.metadata["limit_of"]),
                    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "message")
                );
                assert!(ended.message.contains("--receive-timeout"), "{ended:?}");
            }
        }
        get(&server, "a").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_messages_of_one_caller_have_a_share_of_the_memory() {
    let calls = CallLimits {
        receive_timeout: Duration::from_secs(600),
        receive_bytes: 1,
        ..CallLimits::default()
    };
    // One message of 16 MiB fits, and so do 1,000 without a byte.
    let server = slow_server(&Disk::default(), calls).await;
    create(&server, article("a", &["نص"])).await;
    let mut held = Vec::new();
    for _ in 0..11 {
        held.push(bodiless(&server, GET, 100).await);
    }
    let refused = || metric(&server, "article_store_rpcs_shed_total{kind=\"short\"}").unwrap();
    eventually(|| refused() > 0.0 && in_flight(&server, "short") + refused() == 1_100.0).await;
    // A call whose message comes with its headers needs none of it. Where they come apart, it is refused like the others.
    let whole = async || {
        let request = pb::GetArticleRequest {
            article_id: "a".into(),
            ..Default::default()
        };
        server.articles().get_article(request).await
    };
    within(async {
        while let Err(status) = whole().await {
            assert_eq!(failure(&status).reason, "OVERLOADED");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_its_place_until_it_is_sent_but_who_reads_slowly_loses_it() {
    let calls = CallLimits {
        in_flight: 1,
        ..CallLimits::default()
    };
    let server = slow_server(&Disk::default(), calls).await;
    let paragraph = "نص ".repeat(1_000);
    create(&server, article("a", &vec![paragraph.as_str(); 100])).await;
    // More than the caller's window takes, which nobody opens.
    let unread = BareCall::begin(&server, GET, &[], &get_request("a")).await;
    let mut articles = server.articles();
    let mut list = async || articles.list_articles(pb::ListArticlesRequest::default()).await;
    fails(list().await, Code::ResourceExhausted, "OVERLOADED");
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    within(async {
        while list().await.is_err() {
            looks.tick().await;
        }
    })
    .await;
    // It is whole all the same.
    assert_eq!(unread.end().await.0.code(), Code::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_answered_as_one_and_ends_the_work() {
    let disk = Disk::default();
    let calls = CallLimits {
        deadline: Duration::from_millis(300),
        ..CallLimits::default()
    };
    let server = slow_server(&disk, calls).await;
    disk.hold();
    let end = async |timeout: &[(&str, &str)], id| {
        let call = BareCall::begin(&server, CREATE, timeout, &create_request(id)).await;
        failure(&call.end().await.0)
    };
    let metadata = |millis: &str, of: &str| {
        [("limit_ms", millis), ("limit_of", of)]
            .map(|(k, v)| (k.into(), v.into()))
            .into()
    };
    let callers = end(&[("grpc-timeout", "100m")], "a").await;
    assert_eq!(
        (callers.code, &*callers.reason),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    assert_eq!(callers.metadata, metadata("100", "caller"));
    for timeout in [&[][..], &[("grpc-timeout", "1H")]] {
        let servers = end(timeout, "b").await;
        assert_eq!(
            (servers.code, &*servers.reason),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        );
        assert_eq!(servers.metadata, metadata("300", "server"));
    }
    assert_eq!(
        in_flight(&server, "short"),
        0.0,
        "nothing goes on for callers that have their answer"
    );
    assert_eq!(
        ended(&server, "ArticleService/CreateArticle", "DEADLINE_EXCEEDED"),
        3.0
    );

    // A stream lasts as long as its caller says, whatever the server gives to others.
    disk.release();
    let started = tokio::time::Instant::now();
    let timeout = [("grpc-timeout", "700m")];
    let watch = BareCall::begin(&server, WATCH, &timeout, &pb::WatchChangesRequest::default()).await;
    let (status, trailers) = watch.end().await;
    let ended = failure(&status);
    assert_eq!(
        (ended.code, &*ended.reason),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    assert_eq!(ended.metadata, metadata("700", "caller"));
    assert!(trailers.contains_key("x-request-id"));
    assert!(
        started.elapsed() > calls.deadline,
        "the server's own limit is for short calls"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_stops_its_work() {
    const ARTICLES: usize = 600;
    let disk = Disk::default();
    let server = slow_server(&disk, CallLimits::default()).await;
    let many = (0..ARTICLES).map(|number| create(&server, article(&format!("a{number:03}"), &["نص"])));
    futures::future::join_all(many).await;

    // An export that is read a little and then dropped reads no more articles.
    let mut export = ArticleServiceClient::new(server.narrow_channel(1 << 10))
        .export_articles(pb::ExportArticlesRequest::default())
        .await
        .unwrap();
    within(export.get_mut().message()).await.unwrap().unwrap();
    assert_eq!(in_flight(&server, "long"), 1.0);
    drop(export);
    eventually(|| in_flight(&server, "long") == 0.0).await;
    assert_eq!(ended(&server, "ArticleService/ExportArticles", "CANCELLED"), 1.0);

    // A claim that waits is gone with its worker: the next job is for another one.
    let mut workers = server.jobs();
    let wait = pb::ClaimJobsRequest {
        wait: jobs::seconds(60),
        ..jobs::claim_all()
    };
    let waiting = tokio::spawn(async move { workers.claim_jobs(wait).await });
    eventually(|| in_flight(&server, "long") == 1.0).await;
    waiting.abort();
    eventually(|| in_flight(&server, "long") == 0.0).await;
    assert_eq!(
        ended(&server, "TranslationJobService/ClaimJobs", "CANCELLED"),
        1.0
    );
    jobs::open(&server, jobs::request(&["a000"])).await;
    jobs::claim_one(&server).await;

    // A write of a caller that is gone is not waited for.
    let write = held_write(&server, &disk, "b").await;
    assert_eq!(in_flight(&server, "short"), 1.0);
    write.abort();
    eventually(|| in_flight(&server, "short") == 0.0).await;
    assert_eq!(ended(&server, "ArticleService/CreateArticle", "CANCELLED"), 1.0);
    disk.release();
}

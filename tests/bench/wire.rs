//! The load bench: a real server in its own process, clients over loopback, next to a bare tonic server that answers the
//! same bytes in the same run.
//!
//! `cargo bench --bench wire [-- NAME…]` with names out of `start get list attach feed import jobs request`; all by default.
//! Rates are the median of three runs, in turn with the bare server's; `server µs` is the server's CPU time per request,
//! user and system. Quote ratios: machines are noisy.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and prints its figures"
)]

mod bare;
mod follow;
mod jobs;
mod load;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use article_store::pb::translation_service_client::TranslationServiceClient;
use prost::Message;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use load::{Figures, median, run};

/// How long one run of a measurement takes.
const RUN: Duration = Duration::from_secs(4);
/// How long the attach run takes that looks for sagging.
const LONG_RUN: Duration = Duration::from_secs(30);
/// Articles in the store for reads.
const ARTICLES: usize = 1_000;
/// Connections that the load is spread over.
const CONNECTIONS: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => serve(Path::new(&arguments[1])),
        Some("serve-bare") => bare::serve(Path::new(&arguments[1]), false),
        Some("serve-bare-in-layers") => bare::serve(Path::new(&arguments[1]), true),
        _ => Runtime::new().unwrap().block_on(bench(&arguments)),
    }
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The server under test, as `article-store serve` runs it.
fn serve(directory: &Path) {
    use article_store::api::Limits;
    use article_store::clock::SystemClock;
    use article_store::domain::workflow::SelfReview;
    use article_store::server::store_factory::{StoreLocation, StoreOptions};
    use article_store::server::{Config, run, runtime};
    use std::sync::Arc;
    let options = StoreOptions {
        cache_bytes: 64 << 20,
        min_free_bytes: Some(0),
    };
    let store = StoreLocation::Sled(directory.to_owned())
        .open(options, Arc::new(SystemClock))
        .unwrap();
    runtime().unwrap().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let config = Config {
            limits: Limits {
                shortest_lease_micros: 1_000,
                ..Limits::default()
            },
            auth: article_store::server::auth::Config::default(),
            calls: article_store::server::CallLimits {
                in_flight: 512,
                in_flight_per_caller: 512,
                long_calls_per_caller: 1_024,
                ..Default::default()
            },
            telemetry: Arc::default(),
            drain_delay: Duration::ZERO,
            grace: Duration::from_secs(5),
            self_review: SelfReview::Refused,
            keep_revisions: None,
            keep_changes: article_store::server::KeepChanges::default(),
            transport: article_store::server::transport::Config::default(),
        };
        let never = std::future::pending();
        run(listener, store, Arc::new(SystemClock), config, never)
            .await
            .unwrap();
    });
}

/// A server process that ends with its owner.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(kind: &str, directory: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([kind, directory.to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let stdout = process.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut address).unwrap();
        Self {
            process,
            address: format!("http://{}", address.trim()),
        }
    }

    async fn channels(&self) -> Vec<Channel> {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            let endpoint = Channel::from_shared(self.address.clone())
                .unwrap()
                .tcp_nodelay(true);
            channels.push(endpoint.connect().await.unwrap());
        }
        channels
    }

    /// User and system CPU time so far.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // USER_HZ is 100 on every Linux that this runs on.
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in MiB.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn article(number: usize) -> pb::Article {
    let words = "البيان الاجتماع المنطقة report council morning التحالف minister الأربعاء results ";
    let paragraph = |index: usize| pb::Segment {
        text: format!("{number}.{index} {}", words.repeat(2)),
        ..Default::default()
    };
    pb::Article {
        article_id: format!("bench-{number:06}"),
        language: "ar".into(),
        title: Some(pb::Segment {
            text: format!("headline {number}"),
            ..Default::default()
        }),
        lead: Some(paragraph(99)),
        body: (0..12).map(paragraph).collect(),
        section: "news".into(),
        publisher: "bench".into(),
        published: Some(pb::ArticleDate {
            instant: Some(prost_types::Timestamp {
                seconds: 1_650_000_000 + number as i64 * 60,
                nanos: 0,
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn attach(article: usize, language: &str, round: usize) -> pb::AttachTranslationRequest {
    let segment = |index: usize| pb::TargetSegment {
        text: format!(
            "translated {round} {index} {}",
            "the council met in the morning to hear the report ".repeat(4)
        ),
        ..Default::default()
    };
    pb::AttachTranslationRequest {
        article_id: format!("bench-{article:06}"),
        language: language.into(),
        source_revision: 1,
        content: Some(pb::attach_translation_request::Content::Text(pb::TargetText {
            title: Some(segment(100)),
            lead: Some(segment(99)),
            body: (0..12).map(segment).collect(),
        })),
        agent: Some(pb::Agent {
            kind: pb::AgentKind::Mt.into(),
            engine: "bench".into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn create_all(server: &Server, count: usize) {
    let channels = server.channels().await;
    let clients: Vec<_> = channels.iter().cloned().map(ArticleServiceClient::new).collect();
    let tasks: Vec<_> = (0..32)
        .map(|worker| {
            let mut client = clients[worker % clients.len()].clone();
            tokio::spawn(async move {
                for number in (worker..count).step_by(32) {
                    let request = pb::CreateArticleRequest {
                        article: Some(article(number)),
                        request_id: String::new(),
                    };
                    client.create_article(request).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn bench(names: &[String]) {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    if wanted("start") {
        start().await;
    }
    if wanted("get") || wanted("list") {
        reads(wanted("get"), wanted("list")).await;
    }
    if wanted("attach") {
        attaches().await;
    }
    if wanted("feed") {
        for followers in [1, 100, 1_000] {
            follow::bench(followers).await;
        }
    }
    if wanted("import") {
        import().await;
    }
    if wanted("jobs") {
        jobs::claims().await;
    }
    if wanted("request") {
        jobs::requests().await;
    }
}

/// Cold start on an empty store, and idle memory.
async fn start() {
    let mut times = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let begin = Instant::now();
        let server = Server::start("serve", directory.path());
        let mut client = ArticleServiceClient::new(server.channels().await.remove(0));
        client
            .list_articles(pb::ListArticlesRequest::default())
            .await
            .unwrap();
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        memory.push(server.memory());
    }
    println!(
        "start: empty store to first answer {:.0} ms, idle {:.0} MiB",
        median(times),
        median(memory)
    );
}

/// Reads, in turn with the bare server.
async fn reads(get: bool, list: bool) {
    let directory = tempfile::tempdir().unwrap();
    let answers = tempfile::tempdir().unwrap();
    let server = Server::start("serve", directory.path());
    create_all(&server, ARTICLES).await;
    let mut client = ArticleServiceClient::new(server.channels().await.remove(0));
    let one = client
        .get_article(pb::GetArticleRequest {
            article_id: "bench-000500".into(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    std::fs::write(answers.path().join("get"), one.encode_to_vec()).unwrap();
    for (name, view) in [("basic", pb::ArticleView::Basic), ("full", pb::ArticleView::Full)] {
        let page = client
            .list_articles(pb::ListArticlesRequest {
                view: view.into(),
                ..Default::default()
            })
            .await
            .unwrap()
            .into_inner();
        std::fs::write(answers.path().join(name), page.encode_to_vec()).unwrap();
    }
    println!("reads: an answer of get is {} bytes", one.encoded_len());
    let bare = Server::start("serve-bare", answers.path());
    if get {
        let in_layers = Server::start("serve-bare-in-layers", answers.path());
        let name = "the layers around the bare server, 16 in flight";
        compare(name, &in_layers, &bare, 16, "get", get_one).await;
        for in_flight in [16, 256] {
            compare(
                &format!("get, {in_flight} in flight"),
                &server,
                &bare,
                in_flight,
                "get",
                get_one,
            )
            .await;
        }
    }
    if list {
        compare(
            "list 50 BASIC, 16 in flight",
            &server,
            &bare,
            16,
            "basic",
            list_basic,
        )
        .await;
        compare(
            "list 50 FULL, 16 in flight",
            &server,
            &bare,
            16,
            "full",
            list_full,
        )
        .await;
    }
    println!("reads: server memory {:.0} MiB", server.memory());
}

async fn get_one(channel: Channel, number: usize, answer: &'static str) {
    let mut request = tonic::Request::new(pb::GetArticleRequest {
        article_id: format!("bench-{:06}", number * 7919 % ARTICLES),
        ..Default::default()
    });
    request
        .metadata_mut()
        .insert(bare::ANSWER, answer.parse().unwrap());
    ArticleServiceClient::new(channel)
        .get_article(request)
        .await
        .unwrap();
}

async fn list_page(channel: Channel, view: pb::ArticleView, answer: &'static str) {
    let mut request = tonic::Request::new(pb::ListArticlesRequest {
        view: view.into(),
        ..Default::default()
    });
    request
        .metadata_mut()
        .insert(bare::ANSWER, answer.parse().unwrap());
    ArticleServiceClient::new(channel)
        .list_articles(request)
        .await
        .unwrap();
}

async fn list_basic(channel: Channel, _: usize, answer: &'static str) {
    list_page(channel, pb::ArticleView::Basic, answer).await;
}

async fn list_full(channel: Channel, _: usize, answer: &'static str) {
    list_page(channel, pb::ArticleView::Full, answer).await;
}

async fn compare<F: Future<Output = ()> + Send + 'static>(
    name: &str,
    server: &Server,
    bare: &Server,
    in_flight: usize,
    answer: &'static str,
    call: fn(Channel, usize, &'static str) -> F,
) {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..3 {
        for (server, figures) in [(server, &mut ours), (bare, &mut theirs)] {
            let channels = server.channels().await;
            figures.push(
                run(server, channels, in_flight, RUN, move |channel, number| {
                    call(channel, number, answer)
                })
                .await,
            );
        }
    }
    let ratio =
        median(ours.iter().map(|f| f.rate).collect()) / median(theirs.iter().map(|f| f.rate).collect());
    println!(
        "{name}: {}; bare {}; ratio {ratio:.2}",
        Figures::median(&ours),
        Figures::median(&theirs)
    );
}

/// Durable attaches: each is a new version of one of many translations.
async fn attaches() {
    const LANGUAGES: [&str; 8] = ["en", "fr", "es", "de", "ru", "tr", "fa", "ur"];
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::start("serve", directory.path());
    create_all(&server, ARTICLES).await;
    for (clients, time) in [(1, RUN), (64, LONG_RUN)] {
        let channels = server.channels().await;
        let figures = run(&server, channels, clients, time, |channel, number| async move {
            let article = number * 7919 % ARTICLES;
            let language = LANGUAGES[number / ARTICLES % LANGUAGES.len()];
            let request = attach(article, language, number);
            TranslationServiceClient::new(channel)
                .attach_translation(request)
                .await
                .unwrap();
        })
        .await;
        println!("attach, {clients} clients, durable: {figures}");
        if clients > 1 {
            println!("attach, {clients} clients: each second {:?}", figures.each_second);
        }
    }
    println!("attach: server memory {:.0} MiB", server.memory());
}

/// The import of the Arabic corpus, as far as it is there.
async fn import() {
    let Some(lines) = load::corpus() else {
        println!("import: skipped, ../shared/data/ant-news-ar.jsonl.xz is not there");
        return;
    };
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::start("serve", directory.path());
    let mut client = ArticleServiceClient::new(server.channels().await.remove(0));
    for round in ["first", "again"] {
        let count = lines.len();
        let items = lines.clone();
        let (begin, cpu) = (Instant::now(), server.cpu());
        let answers = client
            .import_articles(tokio_stream::iter(items))
            .await
            .unwrap()
            .into_inner();
        let results = load::count_results(answers).await;
        let seconds = begin.elapsed().as_secs_f64();
        let cpu = (server.cpu() - cpu).as_secs_f64() * 1e6 / count as f64;
        println!(
            "import, {round}: {count} articles in {seconds:.1} s, {:.0}/s, server {cpu:.0} µs each, {results:?}",
            count as f64 / seconds
        );
    }
    println!("import: server memory {:.0} MiB", server.memory());
}

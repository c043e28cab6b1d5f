//! The overload bench: the released program on one core, a generator on another that asks for four times what the program
//! can do, and does not wait.
//!
//! `cargo bench --bench overload [-- SECONDS]`, 60 by default. It finds the peak with a closed loop first, then sends at four
//! times that rate whatever comes back. What must hold is printed beside what was measured, and the exit code is 1 where
//! something does not: answers within a second stay at 80 % of the peak, health answers, memory is bounded, and calls are
//! as quick as before within a second of the end. Calls are pages of 50 articles in full, read as bytes: a page is the heaviest of the usual calls, and what one costs
//! next to a refusal decides how much is left.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on stops, prints its figures, and waits for its time"
)]

#[path = "../support/process.rs"]
mod process;

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use bytes::Bytes;
use h2::client::SendRequest;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use prost::Message;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use process::{PROGRAM, Process, serve};

const SERVER_CORE: &str = "0";
const GENERATOR_CORE: &str = "1";
const ARTICLES: usize = 500;
/// With fewer, HTTP/2 lets calls wait in the generator: a server takes 100 of a connection.
const CONNECTIONS: usize = OPEN / 100;
/// Calls in flight while the peak is looked for.
const CLOSED: [usize; 3] = [8, 32, 128];
const CLOSED_RUN: Duration = Duration::from_secs(8);
/// How many times its peak the server is asked for.
const OVERLOAD: f64 = 4.0;
/// An answer that comes later is of no use any more.
const IN_TIME: Duration = Duration::from_secs(1);
/// Calls that the generator has open at most; one more counts as turned away.
const OPEN: usize = 8_192;
/// What must hold.
const GOODPUT: f64 = 0.8;
const MEMORY_MIB: f64 = 512.0;

fn main() -> ExitCode {
    let seconds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(60));
    pin(std::process::id(), GENERATOR_CORE);
    let server = Server::start();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    if runtime.block_on(bench(&server, time)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn pin(process: u32, core: &str) {
    let status = Command::new("taskset")
        .args(["-a", "-c", "-p", core, &process.to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "taskset");
}

struct Server {
    process: Process,
    address: String,
    _store: TempDir,
}

impl Server {
    fn start() -> Self {
        let store = TempDir::new().unwrap();
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CORE, PROGRAM]);
        serve(&mut command, "127.0.0.1:0", &store.path().join("store"), 0);
        let process = Process::start(command.args(["--log", "off"]));
        let address = process.address().wait().unwrap();
        Self {
            process,
            address,
            _store: store,
        }
    }

    /// Resident memory in MiB.
    fn memory(&self) -> f64 {
        self.process.memory_kib("VmRSS") as f64 / 1024.0
    }

    async fn fill(&self) {
        let channel = self.channel().await;
        let mut articles = ArticleServiceClient::new(channel);
        let segment = |text: String| pb::Segment {
            text,
            ..Default::default()
        };
        for number in 0..ARTICLES {
            let article = pb::Article {
                article_id: format!("a{number}"),
                language: "en".into(),
                title: Some(segment(format!("The night ferry, part {number}"))),
                body: (0..10)
                    .map(|paragraph| segment(format!("{paragraph}. It left at ten. ").repeat(15)))
                    .collect(),
                ..Default::default()
            };
            let request = pb::CreateArticleRequest {
                article: Some(article),
                ..Default::default()
            };
            articles.create_article(request).await.unwrap();
        }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn connect(&self) -> SendRequest<Bytes> {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(1 << 20)
            .initial_connection_window_size(64 << 20);
        let (client, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

/// What became of the calls.
#[derive(Default)]
struct Tally {
    good: AtomicU64,
    late: AtomicU64,
    /// Refused by the server, for it has too much to do.
    shed: AtomicU64,
    /// Not even sent: the connection or the generator had no room for one more.
    held: AtomicU64,
    wrong: AtomicU64,
    open: AtomicUsize,
    times: Mutex<Vec<u64>>,
}

fn body() -> Bytes {
    let message = pb::ListArticlesRequest {
        page_size: 50,
        view: pb::ArticleView::Full.into(),
        ..Default::default()
    }
    .encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

/// The status of a call's answer, once all of it was read.
async fn answer(client: &mut SendRequest<Bytes>, body: Bytes) -> Result<Option<i32>, h2::Error> {
    let request = http::Request::post("http://localhost/articlestore.v1.ArticleService/ListArticles")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (response, mut stream) = client.send_request(request, false)?;
    stream.send_data(body, true)?;
    let response = response.await?;
    let status = |headers: &http::HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    if let Some(status) = status(response.headers()) {
        return Ok(Some(status));
    }
    let mut body = response.into_body();
    while let Some(part) = body.data().await {
        let length = part?.len();
        body.flow_control().release_capacity(length)?;
    }
    Ok(body.trailers().await?.as_ref().and_then(status))
}

async fn call(mut client: SendRequest<Bytes>, body: Bytes, tally: Arc<Tally>) {
    const OK: i32 = 0;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const UNAVAILABLE: i32 = 14;
    let sent = Instant::now();
    let answered = answer(&mut client, body).await;
    let took = sent.elapsed();
    let count = match answered {
        Ok(Some(OK)) if took <= IN_TIME => {
            tally.times.lock().push(took.as_micros() as u64);
            &tally.good
        }
        Ok(Some(OK)) => &tally.late,
        Ok(Some(RESOURCE_EXHAUSTED | UNAVAILABLE)) => &tally.shed,
        _ => &tally.wrong,
    };
    count.fetch_add(1, Ordering::Relaxed);
    tally.open.fetch_sub(1, Ordering::Relaxed);
}

/// The goodput with this many calls in flight, and the latency of most.
async fn closed_loop(clients: &[SendRequest<Bytes>], in_flight: usize, time: Duration) -> (f64, Duration) {
    let tally = Arc::new(Tally::default());
    let begin = Instant::now();
    let workers: Vec<_> = (0..in_flight)
        .map(|worker| {
            let (client, tally) = (clients[worker % clients.len()].clone(), tally.clone());
            tokio::spawn(async move {
                let body = body();
                while begin.elapsed() < time {
                    tally.open.fetch_add(1, Ordering::Relaxed);
                    let client = client.clone().ready().await.unwrap();
                    call(client, body.clone(), tally.clone()).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let rate = tally.good.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
    (rate, quantile(&tally, 0.99))
}

fn quantile(tally: &Tally, quantile: f64) -> Duration {
    let mut times = Histogram::<u64>::new(3).unwrap();
    tally
        .times
        .lock()
        .iter()
        .for_each(|time| times.record(*time).unwrap());
    Duration::from_micros(times.value_at_quantile(quantile))
}

/// Sends at a rate for a time, whatever comes back.
async fn open_loop(clients: &[SendRequest<Bytes>], rate: f64, time: Duration, tally: &Arc<Tally>) {
    let mut tick = interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let body = body();
    let (begin, mut sent) = (Instant::now(), 0_u64);
    while begin.elapsed() < time {
        tick.tick().await;
        let due = (begin.elapsed().as_secs_f64() * rate) as u64;
        while sent < due {
            let client = clients[sent as usize % clients.len()].clone();
            sent += 1;
            let has_room = tally.open.load(Ordering::Relaxed) < OPEN;
            let ready = futures::FutureExt::now_or_never(client.ready());
            match ready.filter(|_| has_room) {
                Some(Ok(client)) => {
                    tally.open.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(call(client, body.clone(), tally.clone()));
                }
                Some(Err(_)) => drop(tally.wrong.fetch_add(1, Ordering::Relaxed)),
                None => drop(tally.held.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }
}

/// How many probes of health were not answered in time, of how many, and the longest.
async fn probe(channel: Channel, time: Duration) -> (usize, usize, Duration) {
    let mut health = HealthClient::new(channel);
    let (mut failed, mut all, mut longest) = (0, 0, Duration::ZERO);
    let begin = Instant::now();
    while begin.elapsed() < time {
        let sent = Instant::now();
        let answer = timeout(IN_TIME, health.check(HealthCheckRequest::default())).await;
        longest = longest.max(sent.elapsed());
        failed += usize::from(!answer.is_ok_and(|answer| answer.is_ok()));
        all += 1;
        sleep(Duration::from_millis(50)).await;
    }
    (failed, all, longest)
}

fn verdict(what: &str, holds: bool) -> bool {
    println!("  {} {what}", if holds { "holds:" } else { "FAILS:" });
    holds
}

async fn bench(server: &Server, time: Duration) -> bool {
    server.fill().await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.connect().await);
    }
    let (mut peak, mut calm) = (0.0_f64, Duration::MAX);
    for in_flight in CLOSED {
        let (rate, p99) = closed_loop(&clients, in_flight, CLOSED_RUN).await;
        println!(
            "closed loop, {in_flight} in flight: {rate:.0}/s, p99 {p99:.1?}, {:.0} MiB",
            server.memory()
        );
        peak = peak.max(rate);
        calm = calm.min(p99);
    }

    let tally = Arc::new(Tally::default());
    let health = tokio::spawn(probe(server.channel().await, time));
    let (most, ()) = tokio::join!(
        most_memory(server, time),
        open_loop(&clients, peak * OVERLOAD, time, &tally)
    );
    let (failed, probes, longest) = health.await.unwrap();
    // The calls that are under way when the load goes away belong to the second in which it must recover.
    sleep(IN_TIME).await;
    let (_, p99_after) = closed_loop(&clients, CLOSED[0], IN_TIME).await;

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let goodput = count(&tally.good) as f64 / time.as_secs_f64();
    println!(
        "open loop, {:.0}/s for {} s: {goodput:.0}/s good with p99 {:.0?}; {} late, {} shed, {} held back, {} wrong",
        peak * OVERLOAD,
        time.as_secs(),
        quantile(&tally, 0.99),
        count(&tally.late),
        count(&tally.shed),
        count(&tally.held),
        count(&tally.wrong),
    );
    let share = goodput / peak;
    [
        verdict(
            &format!("goodput is {:.0} % of the peak", share * 100.0),
            share >= GOODPUT,
        ),
        verdict(
            &format!("{failed} of {probes} health checks failed, the longest took {longest:.0?}"),
            failed == 0,
        ),
        verdict(&format!("memory was {most:.0} MiB at most"), most <= MEMORY_MIB),
        verdict(
            &format!("a second later p99 is {p99_after:.1?}, before {calm:.1?}"),
            p99_after <= calm * 3,
        ),
        verdict(
            &format!("{} answers were wrong", count(&tally.wrong)),
            count(&tally.wrong) == 0,
        ),
    ]
    .into_iter()
    .all(|holds| holds)
}

/// The most resident memory within a time, in MiB.
async fn most_memory(server: &Server, time: Duration) -> f64 {
    let begin = Instant::now();
    let mut most = 0.0_f64;
    while begin.elapsed() < time {
        most = most.max(server.memory());
        sleep(Duration::from_millis(250)).await;
    }
    most
}

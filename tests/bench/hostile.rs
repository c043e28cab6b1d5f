//! What a client notices of another that means harm: its calls before and during each attack, against the real program.
//!
//! `cargo bench --bench hostile [-- NAME…]` with names of attacks; all by default. Attackers, client and server share the
//! cores of the machine, and the attackers take what they get: what the client loses includes what any busy neighbour of
//! the server would cost it, which the attack `work` shows that only computes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and prints its figures"
)]

#[path = "../it/transport/peer.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod peer;
#[path = "../support/process.rs"]
mod process;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use peer::{
    CONTINUATION, END_HEADERS, END_STREAM, Frame, HEADERS, HEALTH, PING, Peer, RST_STREAM, block, call,
    whole_call,
};
use process::{PROGRAM, Process, serve};

/// How long the client is measured, without and with each attack.
const RUN: Duration = Duration::from_secs(4);
/// Tasks that attack at the same time, each with a connection after the other.
const ATTACKERS: usize = 4;
const EXPORT: &str = "/articlestore.v1.ArticleService/ExportArticles";

/// The attacks.
const ATTACKS: [&str; 10] = [
    "work",
    "resets",
    "continuations",
    "headers",
    "pings",
    "streams",
    "silence",
    "connections",
    "windows",
    "unread",
];

/// Attacks once, until the server closes or there is nothing more to do.
async fn attack(name: &str, address: SocketAddr) {
    match name {
        "work" => drop(std::hint::black_box(
            (0..1_000_000_u64).fold(1, |a: u64, b| a.wrapping_mul(b | 1)),
        )),
        "resets" => {
            let burst = |turn: u32| {
                let burst = (0..200).flat_map(|at| {
                    let stream = (turn * 200 + at) * 2 + 1;
                    let reset = Frame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes());
                    [whole_call(stream, HEALTH), reset.bytes()].concat()
                });
                burst.collect()
            };
            drop(Peer::new(address).await.flood(burst).await);
        }
        "continuations" => {
            let more = Frame::new(CONTINUATION, 0, 1, block(&[("x-more", &"y".repeat(8_000))])).bytes();
            let burst = move |turn| match turn {
                0 => Frame::new(HEADERS, END_STREAM, 1, call(HEALTH)).bytes(),
                _ => more.clone(),
            };
            drop(Peer::new(address).await.flood(burst).await);
        }
        "headers" => {
            let many = block(&[("x-more", &"y".repeat(15_000))]);
            let burst =
                move |turn| Frame::new(HEADERS, END_STREAM | END_HEADERS, turn * 2 + 1, many.clone()).bytes();
            drop(Peer::new(address).await.flood(burst).await);
        }
        "pings" => {
            let pings = Frame::new(PING, 0, 0, [7; 8]).bytes().repeat(1_000);
            drop(Peer::new(address).await.flood(move |_| pings.clone()).await);
        }
        "streams" => {
            let open = |turn| Frame::new(HEADERS, END_HEADERS, turn * 2 + 1, call(HEALTH)).bytes();
            drop(Peer::new(address).await.flood(open).await);
        }
        "silence" => {
            let mut silent = Vec::new();
            for _ in 0..50 {
                silent.push(Peer::silent(address).await);
            }
            for mut peer in silent {
                peer.rest().await;
            }
        }
        "connections" => drop(Peer::silent(address).await),
        // SETTINGS_INITIAL_WINDOW_SIZE: nothing, and as much as there is.
        "windows" => {
            let mut peer = Peer::with_settings(address, &[(4, 0)]).await;
            exports(&mut peer).await;
            peer.rest().await;
        }
        "unread" => {
            let mut peer = Peer::with_settings(address, &[(4, (1 << 31) - 1)]).await;
            exports(&mut peer).await;
            // Blocked as soon as the server reads no more, because its answers are not taken.
            let ping = Frame::new(PING, 0, 0, [7; 8]).bytes();
            while peer.send(&ping).await.is_ok() {}
        }
        name => panic!("{name:?} is not one of {ATTACKS:?}"),
    }
}

async fn exports(peer: &mut Peer) {
    for stream in 0..100 {
        // The server may have closed.
        if peer.send(&whole_call(stream * 2 + 1, EXPORT)).await.is_err() {
            return;
        }
    }
}

/// Starts the program with short limits of time.
fn start(directory: &Path) -> Process {
    let mut command = Command::new(PROGRAM);
    serve(&mut command, "127.0.0.1:0", directory, 0);
    Process::start(command.args([
        "--log=warn",
        "--handshake-timeout=1s",
        "--keepalive-interval=1s",
        "--keepalive-timeout=1s",
        "--write-timeout=1s",
        "--max-connections=500",
    ]))
}

/// Calls for a time, one after the other; their times in nanoseconds.
async fn good(channel: &Channel) -> Histogram<u64> {
    let mut articles = ArticleServiceClient::new(channel.clone());
    let mut times = Histogram::new(3).unwrap();
    let begin = Instant::now();
    while begin.elapsed() < RUN {
        let sent = Instant::now();
        let request = pb::GetArticleRequest {
            article_id: "a7".into(),
            ..Default::default()
        };
        articles.get_article(request).await.unwrap();
        times.record(sent.elapsed().as_nanos() as u64).unwrap();
    }
    times
}

fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|name| name != "--bench")
        .collect();
    let attacks: Vec<String> = match named.is_empty() {
        true => ATTACKS.map(str::to_owned).to_vec(),
        false => named,
    };
    // The attackers have threads of their own, so that they do not hold up the client.
    let attackers = Runtime::new().unwrap();
    Runtime::new().unwrap().block_on(async {
        println!("attack          before p50, p99        during p50, p99     calls/s        attacks   peak");
        for name in attacks {
            measure(&name, &attackers).await;
        }
    });
}

async fn measure(name: &str, attackers: &Runtime) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = start(directory.path());
    let address: SocketAddr = server.address().wait().unwrap().parse().unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    for number in 0..20 {
        ArticleServiceClient::new(channel.clone())
            .create_article(article(number))
            .await
            .unwrap();
    }
    let before = good(&channel).await;
    let attacks = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut attacking = JoinSet::new();
    for _ in 0..ATTACKERS {
        let (name, attacks) = (name.to_owned(), attacks.clone());
        attacking.spawn_on(
            async move {
                loop {
                    attack(&name, address).await;
                    attacks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            },
            attackers.handle(),
        );
    }
    let during = good(&channel).await;
    let attacks = attacks.load(std::sync::atomic::Ordering::Relaxed);
    attacking.shutdown().await;
    let ms = |times: &Histogram<u64>, quantile| times.value_at_quantile(quantile) as f64 / 1e6;
    println!(
        "{name:13} {:7.2} ms {:7.2} ms   {:7.2} ms {:7.2} ms  {:5.0} → {:5.0}  {attacks:8}  {:4.0} MiB",
        ms(&before, 0.5),
        ms(&before, 0.99),
        ms(&during, 0.5),
        ms(&during, 0.99),
        before.len() as f64 / RUN.as_secs_f64(),
        during.len() as f64 / RUN.as_secs_f64(),
        server.memory_kib("VmHWM") as f64 / 1024.0,
    );
}

/// One of 100 KB.
fn article(number: usize) -> pb::CreateArticleRequest {
    let segment = |text: String| pb::Segment {
        text,
        ..Default::default()
    };
    pb::CreateArticleRequest {
        article: Some(pb::Article {
            article_id: format!("a{number}"),
            language: "en".into(),
            title: Some(segment(format!("Title {number}"))),
            body: (0..100)
                .map(|_| segment("A thousand bytes. ".repeat(56)))
                .collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

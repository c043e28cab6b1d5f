//! Kills: the real server is killed under write load over gRPC, and while it opens its store. After each restart every
//! acknowledged write is there as it was acknowledged, and every write that was under way is there once or not at all.
//!
//! `ARTICLE_STORE_TEST_KILLS` says how often, 8 times by default. The file system of the machine goes on, so this proves
//! the order of writes, recovery and retries; power loss is the engine's matter and is tested there.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use article_store::clock::SystemClock;
use article_store::store::Store;
use article_store::store::kv::KvStore;
use article_store::store::kv::sled::{SledConfig, SledEngine};
use futures::future::join_all;
use tokio::sync::mpsc;

use self::client::Client;
use self::process::Process;
use self::writer::{Settled, Writer};

mod client;
mod process;
mod story;
mod writer;

/// How often to kill.
const KILLS: &str = "ARTICLE_STORE_TEST_KILLS";
/// How long anything may take before the test fails; reading the whole store of a long run takes a while.
const LIMIT: Duration = Duration::from_secs(300);
const WRITERS: usize = 8;
/// A server lives for this many acknowledgements at most.
const LIFE: u64 = 300;

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below.max(1)
}

async fn within_limit<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("the test hangs")
}

/// Opens the directory as the next server would: everything in it agrees, and the log has no gap. Answers how many
/// commits there are.
async fn check(directory: &Path) -> u64 {
    let config = SledConfig {
        min_free_bytes: Some(0),
        ..SledConfig::new(directory.join("store"))
    };
    let store = KvStore::open(SledEngine::open(config).unwrap(), Arc::new(SystemClock), 16 << 20).unwrap();
    let (mut seen, mut time) = (0, None);
    loop {
        let part = store.changes(seen, 10_000).await.unwrap();
        if part.commits.is_empty() {
            assert_eq!(seen, part.head);
            break;
        }
        for commit in part.commits {
            seen += 1;
            assert_eq!(commit.stamp.seq, seen, "the log has a gap");
            assert!(time < Some(commit.stamp.time), "time stands still at {seen}");
            time = Some(commit.stamp.time);
        }
    }
    assert_eq!(store.check().await.unwrap(), []);
    store.close().await.unwrap();
    seen
}

/// All that a run counts.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    while_opening: u32,
    settled: Settled,
}

impl Tally {
    fn applied(&self, writers: &[Writer]) -> u64 {
        self.settled.applied + writers.iter().map(|writer| writer.acknowledged).sum::<u64>()
    }

    async fn settle(&mut self, writers: Vec<Writer>, client: &Client, all: bool) -> Vec<Writer> {
        let settling = writers
            .into_iter()
            .map(|writer| tokio::spawn(writer.settle(client.clone(), all)));
        let mut writers = Vec::new();
        for settled in within_limit(join_all(settling)).await {
            let (writer, settled) = settled.unwrap();
            writers.push(writer);
            self.settled += settled;
        }
        writers
    }
}

/// Lets the writers write until the server has acknowledged so much, and kills it.
async fn kill_under_load(server: Process, client: &Client, writers: Vec<Writer>, life: u64) -> Vec<Writer> {
    let killed = Arc::new(AtomicBool::new(false));
    let (said, mut acknowledgements) = mpsc::unbounded_channel();
    let writing: Vec<_> = writers
        .into_iter()
        .map(|writer| tokio::spawn(writer.write(client.clone(), said.clone(), killed.clone())))
        .collect();
    drop(said);
    for _ in 0..life {
        let acknowledged = within_limit(acknowledgements.recv()).await;
        acknowledged.expect("the server answers until it is killed");
    }
    killed.store(true, Ordering::SeqCst);
    server.kill();
    let written = within_limit(join_all(writing)).await;
    written.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_of_the_server() {
    let kills = std::env::var(KILLS).map_or(8, |kills| kills.parse().unwrap());
    let check_every = (kills / 10).max(4);
    let directory = tempfile::tempdir().unwrap();
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    let mut tally = Tally::default();
    let mut opening = Duration::from_millis(200);
    while tally.kills < kills {
        tally.kills += 1;
        let started = Instant::now();
        let mut server = Process::start(directory.path());
        let address = if tally.kills % 4 == 2 {
            let moment = Duration::from_micros(random(opening.as_micros() as u64));
            tokio::time::timeout(moment, server.address()).await.ok()
        } else {
            Some(within_limit(server.address()).await)
        };
        let Some(address) = address else {
            server.kill();
            tally.while_opening += 1;
            continue;
        };
        opening = started.elapsed();
        let client = Client::connect(address).await;
        writers = tally.settle(writers, &client, false).await;
        let life = random(if random(4) == 0 { 8 } else { LIFE });
        writers = kill_under_load(server, &client, writers, life).await;
        if tally.kills % check_every == 0 {
            let commits = check(directory.path()).await;
            let applied = tally.applied(&writers);
            assert!((applied..=applied + WRITERS as u64).contains(&commits));
            println!("{} kills, {commits} commits", tally.kills);
        }
    }

    let mut server = Process::start(directory.path());
    let address = within_limit(server.address()).await;
    let mut client = Client::connect(address).await;
    writers = tally.settle(writers, &client, true).await;
    let mut listed = client.list().await;
    listed.sort();
    let stories = writers.iter().flat_map(|writer| &writer.stories);
    let mut names: Vec<_> = stories
        .filter(|story| story.known.state.revision > 0 && !story.known.state.deleted)
        .map(|story| story.name.clone())
        .collect();
    names.sort();
    assert!(listed == names, "the list has all articles, each once");
    drop(client);
    server.stop().await;
    let commits = check(directory.path()).await;
    assert_eq!(commits, tally.applied(&writers), "every write is applied once");

    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    assert!(acknowledged > 0);
    println!(
        "{} kills, {} of them while opening; {acknowledged} acknowledged writes to {} articles, all there; {} writes under \
         way, {} of them there; {commits} commits, the check finds nothing",
        tally.kills,
        tally.while_opening,
        names.len(),
        tally.settled.in_flight,
        tally.settled.survived,
    );
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert_eq!(log, "", "the server had nothing to warn of");
}

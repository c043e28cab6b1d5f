//! Kills: the server is killed under write load over gRPC, and three times in a row while it opens its store.
//!
//! The kernel keeps what was written, so this proves the order of writes, recovery and retries; `power_loss` tests the loss
//! of unsynced data.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::mpsc;

use super::client::Client;
use super::process::{Process, program};
use super::shim::Shim;
use super::writer::{Settled, Writer};
use super::{Kept, agrees, check, copy, random, times, within_limit};
use crate::harness::Setup;

/// How often to kill.
const KILLS: &str = "ARTICLE_STORE_TEST_KILLS";
const WRITERS: usize = 8;
/// A server lives for this many acknowledgements at most.
const LIFE: u64 = 300;
/// Kills while opening, one after the other.
const IN_A_ROW: u32 = 3;

/// All that a run counts.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    rows_while_opening: u32,
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

    /// Kills servers at random moments until enough in a row were opening the store. One that is open before its moment
    /// ends the row, and the next ones get less time.
    async fn kill_while_opening(&mut self, start: impl Fn() -> Process, mut opening: Duration) {
        let mut row = 0;
        while row < IN_A_ROW {
            let mut server = start();
            let moment = Duration::from_micros(random(opening.as_micros() as u64));
            if tokio::time::timeout(moment, server.address()).await.is_ok() {
                row = 0;
                opening = opening * 3 / 4;
            } else {
                row += 1;
            }
            server.kill();
            self.kills += 1;
        }
        self.rows_while_opening += 1;
    }
}

/// Lets the writers write until the server has acknowledged so much, and kills it.
pub(super) async fn kill_under_load(
    server: Process,
    client: &Client,
    writers: Vec<Writer>,
    life: u64,
) -> Vec<Writer> {
    let killed = Arc::new(AtomicBool::new(false));
    let (said, mut acknowledgements) = mpsc::unbounded_channel();
    let writing: Vec<_> = writers
        .into_iter()
        .map(|writer| {
            let (client, said, killed) = (client.clone(), said.clone(), killed.clone());
            tokio::spawn(async move {
                let say = |_: &_| {
                    // Nobody listens any more after the kill.
                    let _ = said.send(());
                };
                let (writer, status) = writer.write(client, say, || false).await;
                let status = status.expect("it writes until the server is gone");
                assert!(
                    killed.load(Ordering::SeqCst) && status.details().is_empty(),
                    "{status:?}"
                );
                writer
            })
        })
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

/// Opens a copy of a store and kills it after this number of file operations, and again after fewer. `None`:
/// it served before the first kill.
async fn killed_opening(base: &Path, records: u32) -> Option<Kept> {
    let kept = Kept::new(format!("killed behind {records} records"));
    let shim = Shim::new(kept.path(), "volume", false);
    copy(base, &shim.root);
    let command = || program(&shim.root.join("store"), 0);
    let log = kept.path().join("log");
    let mut comes_so_far = false;
    for kill in 0..IN_A_ROW {
        let records = if kill == 0 {
            records
        } else {
            random(records.into()) as u32 + 1
        };
        let mut server = Process::start(shim.kill(command(), records), &log);
        if server.address().await.is_none() {
            let status = server.ended().await;
            let said = std::fs::read_to_string(&log).unwrap();
            assert_eq!(status.signal(), Some(9), "it ended by itself: {said}");
            comes_so_far |= kill == 0;
        }
    }
    comes_so_far.then_some(kept)
}

/// Three kills in a row, the first one behind each thing that an opening does to its files, or each third, of a store that
/// is made and of one that was killed under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_survives_kills_at_every_step_of_its_opening() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("volume");
    std::fs::create_dir(&base).unwrap();
    let stride = if std::env::var_os(KILLS).is_some() { 1 } else { 3 };
    let mut steps = Vec::new();
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    for round in 0..2 {
        if round > 0 {
            let mut server = Process::start(program(&base.join("store"), 0), &directory.path().join("log"));
            let client = Client::connect(server.address().await.expect("the server starts")).await;
            writers = kill_under_load(server, &client, writers, LIFE / 4).await;
        }
        for records in (1 + random(stride) as u32..).step_by(stride as usize) {
            let Some(kept) = killed_opening(&base, records).await else {
                steps.push(records - 1);
                break;
            };
            let server = Setup::sled_in(&kept.path().join("volume/store")).start().await;
            let mut client = Client::connect(format!("http://{}", server.address)).await;
            for story in writers.iter().flat_map(|writer| &writer.stories) {
                let found = client.read(story).await.unwrap();
                let in_doubt = story
                    .in_flight
                    .as_ref()
                    .map(|request| story.known.state.after(request));
                assert!(found == story.known || Some(&found.state) == in_doubt.as_ref());
            }
            agrees(&*server.store).await;
            drop(client);
            server.stop().await;
        }
    }
    println!(
        "killed behind the first {} steps of making a store, and {} of recovering one",
        steps[0], steps[1]
    );
    assert!(steps.iter().all(|steps| *steps > 10));
}

pub(super) fn start(directory: &Path) -> Process {
    Process::start(program(&directory.join("store"), 0), &directory.join("log"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_of_the_server() {
    let kills = times(KILLS, 12);
    let check_every = (kills / 10).max(4);
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    let mut tally = Tally::default();
    let mut checked_at = 0;
    while tally.kills < kills {
        let started = Instant::now();
        let mut server = start(directory);
        let address = server.address().await.expect("the server starts");
        let opening = started.elapsed();
        let client = Client::connect(address).await;
        writers = tally.settle(writers, &client, false).await;
        let life = random(if random(4) == 0 { 8 } else { LIFE });
        writers = kill_under_load(server, &client, writers, life).await;
        tally.kills += 1;
        if random(4) == 0 || tally.rows_while_opening == 0 {
            tally.kill_while_opening(|| start(directory), opening).await;
        }
        if tally.kills >= checked_at + check_every {
            checked_at = tally.kills;
            let commits = check(&directory.join("store")).await;
            let applied = tally.applied(&writers);
            assert!((applied..=applied + WRITERS as u64).contains(&commits));
            println!("{} kills, {commits} commits", tally.kills);
        }
    }

    let mut server = start(directory);
    let address = server.address().await.expect("the server starts");
    let mut client = Client::connect(address).await;
    writers = tally.settle(writers, &client, true).await;
    let listed = client.list().await.unwrap();
    let stories = writers.iter().flat_map(|writer| &writer.stories);
    let mut names: Vec<_> = stories
        .filter(|story| story.known.is_listed())
        .map(|story| story.name.clone())
        .collect();
    names.sort();
    assert!(listed == names, "the list has all articles, each once");
    drop(client);
    server.stop().await;
    let commits = check(&directory.join("store")).await;
    assert_eq!(commits, tally.applied(&writers), "every write is applied once");

    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    assert!(acknowledged > 0);
    println!(
        "{} kills, {} times {IN_A_ROW} in a row while opening; {acknowledged} acknowledged writes to {} articles, all \
         there; {} writes under way, {} of them there; {commits} commits, the check finds nothing",
        tally.kills,
        tally.rows_while_opening,
        names.len(),
        tally.settled.in_flight,
        tally.settled.survived,
    );
    let log = std::fs::read_to_string(directory.join("log")).unwrap();
    assert_eq!(log, "", "the server had nothing to warn of");
}

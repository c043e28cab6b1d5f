//! Failing disks: a sync of the server fails, and what was to be synced never reaches the disk, although the page cache
//! still shows it. No write is acknowledged on unsynced data: each image that a power loss may leave afterwards holds all
//! acknowledged writes. The server reopens its database by itself and continues.

use std::collections::BTreeMap;

use tonic::{Code, Status};

use super::client::Client;
use super::image::{Cut, Recording, STORE};
use super::process::{Process, program};
use super::recording::{Event, History};
use super::shim::Shim;
use super::volume::Volume;
use super::writer::{Settled, Writer, none_failed, settle_together, write_together};
use super::{Random, random, times, until};
use crate::harness::failure;

const WRITERS: usize = 8;
/// Acknowledgements before and after a sync fails.
const LIFE: u64 = 20;
/// Acknowledgements by which the syncs that are to fail have failed: there is one for each group of writes.
const PATIENCE: u64 = 1_000;
/// Pairs of images behind each loss, and other images.
const IMAGES_OF_A_FAILURE: usize = 1;
/// Which syncs fail, one after the other: the server's own of the log; sled's, when it flushes; and the one behind each,
/// which is sled's when it is shut or opened.
const FAILURES: [&[&str]; 4] = [
    &["fdatasync"],
    &["sync_file_range"],
    &["fdatasync", "fsync"],
    &["sync_file_range", "fsync"],
];

/// A write that meets a failing disk says so.
fn assert_expected(status: &Status) {
    let failure = failure(status);
    match (failure.code, failure.reason.as_str()) {
        (Code::Unknown, "OUTCOME_UNKNOWN") => {}
        (Code::Unavailable, "STORE_UNAVAILABLE") => assert!(failure.retry, "{failure:?}"),
        _ => panic!("{failure:?}"),
    }
}

/// Where in the events the database's log lost something.
fn losses(events: &[Event]) -> Vec<usize> {
    let made = events.iter().find_map(|event| match event {
        Event::Created { path, inode } if path.ends_with("/db.creating/db") => Some(*inode),
        _ => None,
    });
    let log = made.expect("the database was made");
    let numbered = events.iter().enumerate();
    let losses = numbered.filter(|(_, event)| **event == Event::Lost { inode: log });
    losses.map(|(at, _)| at).collect()
}

/// What follows a loss, up to the next one: the database is read from the disk again before anything is acknowledged that
/// was not under way.
fn assert_read_again(events: &[Event]) {
    let reads_again = |event: &Event| matches!(event, Event::CacheDropped { .. });
    let read_again = events.iter().position(reads_again).expect("it is read again");
    let said = |event: &&Event| matches!(event, Event::Acknowledged { .. });
    let acknowledged = events[..read_again].iter().filter(said).count();
    assert!(
        acknowledged <= WRITERS,
        "{acknowledged} acknowledgements on a failed disk"
    );
}

/// Cuts behind the acknowledgements that follow each loss, each twice for both kinds of images, and anywhere.
fn cuts(recording: &Recording, losses: &[usize], random: &mut Random) -> Vec<Cut> {
    let mut cuts = recording.cuts(losses.len() * IMAGES_OF_A_FAILURE, random);
    for loss in losses {
        let behind = recording.events.iter().enumerate().skip(*loss);
        let acknowledged = behind.filter(|(_, event)| matches!(event, Event::Acknowledged { .. }));
        let mut places = acknowledged.map(|(at, _)| Cut(at + 1));
        for _ in 0..IMAGES_OF_A_FAILURE {
            let place = places.nth(random.below(6) as usize).unwrap_or(Cut(*loss));
            cuts.extend([place, place]);
        }
    }
    cuts.sort();
    cuts
}

/// sled does not wake a flush when one of its own threads fails to write the manifest of a batch: each write is answered
/// all the same, and the server continues by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_sled_would_never_wake_ends() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("volume")).unwrap();
    let shim = std::sync::Arc::new(Shim::new(directory.path(), "volume", true));
    let log = directory.path().join("log");
    let mut server = Process::start(shim.below(program(&shim.root.join(STORE), 0)), &log);
    let client = Client::connect(server.address().await.expect("the server starts")).await;
    let history = History::new(&shim.record, std::iter::empty());
    // One writer, for sled wakes the flush when another call reads a page meanwhile.
    let writers = vec![Writer::new(0)];
    shim.fail(&["batch_manifest"]);
    let failing = shim.clone();
    let written = write_together(writers, &client, &history, move |acknowledged| {
        assert!(acknowledged < PATIENCE, "no manifest was written");
        failing.has_failed()
    })
    .await;
    let mut writers = Vec::new();
    for (writer, failed) in written {
        writers.push(writer);
        if let Some(status) = failed {
            assert_expected(&status);
        }
    }
    until(async || client.clone().list().await.ok()).await;
    let (writers, _) = settle_together(writers, &client, &history).await;
    none_failed(write_together(writers, &client, &history, |acknowledged| acknowledged >= LIFE).await);
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_on_a_disk_that_failed() {
    let failures = times("ARTICLE_STORE_TEST_SYNC_ERRORS", 4) as usize;
    let seed = random(u64::MAX);
    println!("seed {seed}");
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("volume")).unwrap();
    let shim = std::sync::Arc::new(Shim::new(directory.path(), "volume", true));
    let begin = Volume::of(&shim.root);
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    let history = History::new(&shim.record, std::iter::empty());
    let log = directory.path().join("log");
    let mut server = Process::start(shim.below(program(&shim.root.join(STORE), 0)), &log);
    let mut client = Client::connect(server.address().await.expect("the server starts")).await;
    let (mut failed_writes, mut settled) = (BTreeMap::<_, usize>::new(), Settled::default());
    for number in 0..failures {
        let healthy = write_together(writers, &client, &history, |acknowledged| acknowledged >= LIFE).await;
        writers = none_failed(healthy);
        shim.fail(FAILURES[number % FAILURES.len()]);
        let failing = shim.clone();
        let done = move |acknowledged| {
            assert!(
                acknowledged < PATIENCE,
                "the server acknowledges writes without the sync that is to fail"
            );
            acknowledged >= LIFE && failing.has_failed()
        };
        let written = write_together(writers, &client, &history, done).await;
        writers = Vec::new();
        for (writer, failed) in written {
            writers.push(writer);
            if let Some(status) = failed {
                assert_expected(&status);
                *failed_writes.entry(failure(&status).reason).or_default() += 1;
            }
        }
        until(async || client.clone().list().await.ok()).await;
        let (settled_writers, sum) = settle_together(writers, &client, &history).await;
        writers = settled_writers;
        settled += sum;
    }
    client.list().await.unwrap();
    drop(client);
    server.stop().await;
    println!("{failures} failures, {failed_writes:?}, {settled:?}");

    let events = Event::read(&shim.record);
    let losses = losses(&events);
    assert!(losses.len() >= failures);
    for (number, loss) in losses.iter().enumerate() {
        let next = losses.get(number + 1).copied().unwrap_or(events.len());
        assert_read_again(&events[*loss..next]);
    }
    let recording = Recording {
        begin,
        events,
        history,
        commits: 0,
        writers: WRITERS,
    };
    let mut random = Random::new(seed);
    let cuts = cuts(&recording, &losses, &mut random);
    let (tally, _) = recording.verify(&cuts, &mut random, &shim.root).await;
    println!(
        "{} losses, {} images, {} of which lost something; nothing acknowledged is missing, {} writes compared",
        losses.len(),
        tally.images,
        tally.lossy,
        tally.acknowledged
    );
}

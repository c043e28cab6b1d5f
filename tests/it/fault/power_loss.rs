//! Power loss: what the server does to its files is recorded from the making of the store on, and replayed up to random
//! points. Every image that a power loss may leave there is opened by the real server and compared.
//!
//! Recordings follow each other: the next one begins with an image of the last, so that the power is also cut while the
//! server recovers. Every other one is of a server that reopens its database all the time, which the program does only
//! after half a gigabyte of log, and that compacts it over and over.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use article_store::api::Limits;
use article_store::clock::SystemClock;
use article_store::domain::workflow::SelfReview;
use article_store::server;
use article_store::store::kv::KvStore;
use article_store::store::kv::sled::{SledConfig, SledEngine};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::client::Client;
use super::image::{Recording, STORE, Tally};
use super::process::{ARTICLE_BYTES, Process, program};
use super::recording::{Event, History};
use super::shim::Shim;
use super::volume::Volume;
use super::writer::{Writer, none_failed, write_together};
use super::{Random, random, times, within_limit};

const WRITERS: usize = 8;
/// Acknowledgements in the life of a server; a recording has two lives.
const LIFE: u64 = 50;
const IMAGES_OF_A_RECORDING: usize = 24;
/// Recordings of a store, each beginning with what the last one left; then comes a new store.
const RECORDINGS_OF_A_STORE: usize = 3;
/// Names the store, when this binary is started as a server.
const DIRECTORY: &str = "ARTICLE_STORE_TEST_REOPENING";
/// Log bytes after which that server reopens.
const REOPEN_AFTER_BYTES: u64 = 2 << 20;

/// Not a test of its own: the server that reopens its database all the time.
#[tokio::test]
async fn server_that_reopens() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let mut stop = signal(SignalKind::terminate()).unwrap();
    let config = SledConfig {
        min_free_bytes: Some(0),
        reopen_after_bytes: REOPEN_AFTER_BYTES,
        ..SledConfig::new(directory)
    };
    let clock = Arc::new(SystemClock);
    let store = KvStore::open(SledEngine::open(config).unwrap(), clock.clone(), 16 << 20).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap());
    let config = server::Config {
        auth: server::auth::Config::default(),
        limits: Limits {
            article_bytes: ARTICLE_BYTES as usize,
            shortest_lease_micros: 1_000,
            ..Limits::default()
        },
        calls: server::CallLimits::default(),
        telemetry: Arc::default(),
        drain_delay: Duration::ZERO,
        grace: Duration::from_secs(1),
        self_review: SelfReview::Refused,
        keep_revisions: None,
        keep_changes: server::KeepChanges::default(),
        transport: server::transport::Config::default(),
    };
    let stopped = async {
        stop.recv().await;
    };
    let store = Arc::new(store);
    server::run(listener, store, clock, config, stopped)
        .await
        .unwrap();
    // Nobody listens to what the test runner would say.
    std::process::exit(0);
}

fn reopening_program(store: &Path) -> Command {
    let name = format!(
        "{}::server_that_reopens",
        module_path!().split_once("::").unwrap().1
    );
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([name.as_str(), "--exact", "--nocapture"])
        .env(DIRECTORY, store);
    command
}

/// Records the lives of two servers. Answers also how many compactions there were.
async fn record(
    shim: &Shim,
    reopening: bool,
    commits: u64,
    mut writers: Vec<Writer>,
) -> (Recording, Vec<Writer>, u32) {
    let store = shim.root.join(STORE);
    let begin = Volume::of(&shim.root);
    let history = History::new(&shim.record, writers.iter().flat_map(|writer| &writer.stories));
    let mut compactions = 0;
    for _ in 0..2 {
        let command = if reopening {
            reopening_program(&store)
        } else {
            program(&store, 0)
        };
        let mut server = Process::start(shim.below(command), &shim.root.with_file_name("log"));
        let client = Client::connect(server.address().await.expect("the server starts")).await;
        let written = Arc::new(AtomicBool::new(false));
        let compacting = reopening.then(|| tokio::spawn(compact_until(written.clone(), client.clone())));
        let together = write_together(writers, &client, &history, |acknowledged| acknowledged >= LIFE).await;
        writers = none_failed(together);
        written.store(true, Ordering::Release);
        if let Some(compacting) = compacting {
            compactions += within_limit(compacting).await.unwrap();
        }
        drop(client);
        server.stop().await;
    }
    let recording = Recording {
        begin,
        events: Event::read(&shim.record),
        history,
        commits,
        writers: WRITERS,
    };
    (recording, writers, compactions)
}

/// Compacts again and again, and answers how often.
async fn compact_until(done: Arc<AtomicBool>, mut client: Client) -> u32 {
    let mut compactions = 0;
    while !done.load(Ordering::Acquire) {
        client.compact().await.unwrap();
        compactions += 1;
    }
    compactions
}

/// No value may be so long that sled makes a file of its own of it.
fn assert_no_blobs(events: &[Event]) {
    for event in events {
        if let Event::Created { path, .. } = event {
            assert!(!path.contains("/blobs/"), "sled made {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_power_loss() {
    let images = times("ARTICLE_STORE_TEST_IMAGES", 12) as usize;
    let recordings = images.div_ceil(IMAGES_OF_A_RECORDING).max(2);
    let seed = random(u64::MAX);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let (mut writers, mut directory, mut commits) = (Vec::new(), tempfile::tempdir().unwrap(), 0);
    let (mut tally, mut events, mut compactions) = (Tally::default(), 0, 0);
    for number in 0..recordings {
        if number % RECORDINGS_OF_A_STORE == 0 {
            writers = (0..WRITERS).map(Writer::new).collect();
            writers[0].write_a_long_story();
            directory = tempfile::tempdir().unwrap();
            std::fs::create_dir(directory.path().join("volume")).unwrap();
            commits = 0;
        }
        let shim = Shim::new(directory.path(), "volume", false);
        let (recording, written, compacted) = record(&shim, number % 2 == 1, commits, writers).await;
        writers = written;
        compactions += compacted;
        assert_no_blobs(&recording.events);
        events += recording.events.len();
        let cuts = recording.cuts(images.div_ceil(recordings), &mut random);
        let (verified, left) = recording.verify(&cuts, &mut random, &shim.root).await;
        tally += verified;
        let left = left.expect("there is an image");
        println!("recording {number}: {tally:?}");
        commits = left.found.commits;
        writers
            .iter_mut()
            .for_each(|writer| writer.restore(&left.found.stories));
        directory = left.directory;
    }
    assert!(tally.images >= images && tally.acknowledged > 0 && tally.lossy > 0 && compactions > 0);
    println!(
        "{} images of {recordings} recordings with {events} events and {compactions} compactions, {} of which lost something; nothing \
         acknowledged is missing, {} writes compared; the check finds nothing",
        tally.images, tally.lossy, tally.acknowledged
    );
}

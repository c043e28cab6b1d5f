//! Kills of the operator's commands, and of a server that compacts: whatever moment it is, the store is the one that it
//! was or the one that it was to become, whole, and every acknowledged write is in it.
//!
//! `ARTICLE_STORE_TEST_KILLS` says how often for each command, 10 times by default.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use article_store::clock::SystemClock;
use article_store::pb;
use article_store::pb::admin_service_client::AdminServiceClient;
use article_store::pb::article_service_client::ArticleServiceClient;
use article_store::server::store_factory::{self, StoreOptions};
use article_store::store::ArticleState;
use article_store::store::transfer::BackupFile;
use tempfile::TempDir;
use tokio::time::interval;
use tonic::transport::Channel;

use crate::cli::{Server, program};
use crate::harness::LIMIT;

const OPTIONS: StoreOptions = StoreOptions {
    cache_bytes: 8 << 20,
    min_free_bytes: Some(0),
};

fn kills() -> u32 {
    std::env::var("ARTICLE_STORE_TEST_KILLS").map_or(10, |kills| kills.parse().unwrap())
}

fn random(below: Duration) -> Duration {
    Duration::from_micros(RandomState::new().hash_one(0) % below.as_micros().max(1) as u64)
}

/// Runs commands that are killed at a random moment of the time that they take.
#[derive(Default)]
struct Killer {
    longest: Duration,
    killed: u32,
    finished: u32,
}

impl Killer {
    /// Runs a command to its end, to know how long it takes.
    async fn spare(&mut self, command: &mut Command) {
        assert!(self.run(command, LIMIT).await, "{command:?}");
    }

    async fn kill(&mut self, command: &mut Command) {
        let moment = random(self.longest + self.longest / 8);
        if self.run(command, moment).await {
            self.finished += 1;
        } else {
            self.killed += 1;
        }
    }

    /// Whether it ended before the moment.
    async fn run(&mut self, command: &mut Command, moment: Duration) -> bool {
        let started = Instant::now();
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut tick = interval(Duration::from_millis(1));
        while started.elapsed() < moment {
            tick.tick().await;
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{command:?} fails");
                self.longest = self.longest.max(started.elapsed());
                return true;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        false
    }
}

pub(super) fn command(args: &[&str]) -> Command {
    let mut command = program("http://127.0.0.1:1");
    command.args(args);
    command
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(super) fn store(directory: &Path) -> String {
    format!("sled:{}", directory.display())
}

/// What the store in a directory holds; it must be sound.
pub(super) async fn states(directory: &Path) -> Vec<Arc<ArticleState>> {
    let store = store_factory::open_existing(directory, OPTIONS, Arc::new(SystemClock)).unwrap();
    assert_eq!(store.check().await.unwrap(), []);
    let states = store.scan(None, usize::MAX).await.unwrap();
    store.close().await.unwrap();
    states
}

struct Client {
    articles: ArticleServiceClient<Channel>,
    admin: AdminServiceClient<Channel>,
}

impl Client {
    async fn of(server: &Server) -> Self {
        let address = server.address().to_owned();
        let address = if address.contains("://") {
            address
        } else {
            format!("http://{address}")
        };
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        Self {
            articles: ArticleServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel),
        }
    }
}

fn article(id: &str, bytes: usize) -> pb::CreateArticleRequest {
    let segment = |text: String| pb::Segment {
        text,
        ..Default::default()
    };
    // Hardly to be compressed.
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let seed = hasher.finish();
    let word = |word: u64| format!("{:x}", (seed ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let words = (0..bytes as u64 / 16).map(word);
    pb::CreateArticleRequest {
        article: Some(pb::Article {
            article_id: id.into(),
            language: "ar".into(),
            title: Some(segment(id.into())),
            body: vec![segment(words.collect::<Vec<_>>().join(" "))],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Makes a store of articles whose ids begin with a name.
pub(super) async fn make(directory: &Path, name: &str, articles: u32) {
    let server = Server::start(directory);
    let mut client = Client::of(&server).await;
    for number in 0..articles {
        let request = article(&format!("{name}{number}"), 8_000);
        client.articles.create_article(request).await.unwrap();
    }
    assert_eq!(server.stop().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_restore_leaves_the_old_store_or_the_whole_new_one() {
    let root = TempDir::new().unwrap();
    let (target, scratch) = (root.path().join("target"), root.path().join("scratch"));
    let mut sides = Vec::new();
    for (name, articles) in [("old", 60), ("new", 90)] {
        let (directory, file) = (root.path().join(name), root.path().join(format!("{name}.backup")));
        make(&directory, name, articles).await;
        let made = command(&["backup", text(&file), "--store", &store(&directory)]).status();
        assert!(made.unwrap().success());
        sides.push((file, states(&directory).await));
    }
    let restore = |file: &Path, directory: &Path| {
        let at = store(directory);
        let args = [
            "restore",
            text(file),
            "--store",
            &at,
            "--replace",
            "--min-free-bytes",
            "0",
        ];
        command(&args)
    };
    let mut killer = Killer::default();
    killer.spare(&mut restore(&sides[0].0, &target)).await;
    killer.spare(&mut restore(&sides[1].0, &scratch)).await;
    let mut there = 0;
    for _ in 0..kills() {
        let other = 1 - there;
        killer.kill(&mut restore(&sides[other].0, &target)).await;
        let found = states(&target).await;
        if found == sides[other].1 {
            there = other;
        } else {
            assert!(found == sides[there].1, "neither the old store nor the new one");
        }
        assert!(!target.join("new").exists() && !target.join("db.old").exists());
    }
    println!("{} restores killed, {} were done", killer.killed, killer.finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backup_leaves_a_whole_file_or_none() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("store");
    make(&directory, "a", 120).await;
    let (file, at) = (root.path().join("backup"), store(&directory));
    let server = Server::start(&directory);
    let back_up = || {
        let mut command = program(server.address());
        command.args(["backup", "--force", text(&file)]);
        command
    };
    let mut killer = Killer::default();
    killer.spare(&mut back_up()).await;
    let entities = BackupFile::verify(&file).unwrap().entities;
    for _ in 0..kills() {
        fs::remove_file(&file).unwrap();
        killer.kill(&mut back_up()).await;
        if file.exists() {
            assert_eq!(BackupFile::verify(&file).unwrap().entities, entities);
        }
        // The server lets the next one begin as soon as it notices.
        let started = Instant::now();
        while !back_up()
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
        {
            assert!(started.elapsed() < LIMIT, "no other backup can be made");
        }
        assert_eq!(BackupFile::verify(&file).unwrap().entities, entities);
    }
    assert_eq!(server.stop().0, Some(0));
    let before = states(&directory).await;
    let mut offline = Killer::default();
    let back_up = || command(&["backup", "--force", text(&file), "--store", &at]);
    offline.spare(&mut back_up()).await;
    for _ in 0..kills() {
        offline.kill(&mut back_up()).await;
        assert_eq!(
            BackupFile::verify(&file).unwrap().entities,
            entities,
            "the old one or a new one"
        );
        assert!(states(&directory).await == before);
    }
    println!(
        "{} and {} backups killed, {} and {} were done",
        killer.killed, offline.killed, killer.finished, offline.finished
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_compaction_leaves_the_store_as_it_was() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("store");
    make(&directory, "a", 120).await;
    let (at, before) = (store(&directory), states(&directory).await);
    let compact = || command(&["compact", "--store", &at, "--min-free-bytes", "0"]);
    let mut killer = Killer::default();
    killer.spare(&mut compact()).await;
    for _ in 0..kills() {
        killer.kill(&mut compact()).await;
        assert!(states(&directory).await == before);
    }
    println!(
        "{} compactions killed, {} were done",
        killer.killed, killer.finished
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_while_it_compacts_keeps_every_acknowledged_write() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("store");
    make(&directory, "a", 120).await;
    let mut acknowledged: Vec<String> = (0..120).map(|number| format!("a{number}")).collect();
    let mut longest = Duration::ZERO;
    let (mut compactions, mut written) = (0, 0);
    for round in 0..=kills() {
        let server = Server::start(&directory);
        let Client {
            mut articles,
            mut admin,
        } = Client::of(&server).await;
        let moment = random(longest * 2);
        let last = Arc::new(AtomicBool::new(false));
        let is_last = last.clone();
        let compacting = tokio::spawn(async move {
            let mut done = 0;
            loop {
                let request = pb::CompactStoreRequest {};
                let Ok(steps) = admin.compact_store(request).await else {
                    return done;
                };
                let mut steps = steps.into_inner();
                while let Ok(Some(step)) = steps.message().await {
                    if let Some(pb::compact_store_response::Step::Summary(_)) = step.step {
                        done += 1;
                    }
                }
                if is_last.load(Ordering::Acquire) {
                    return done;
                }
            }
        });
        let started = Instant::now();
        for number in 0.. {
            // The first round only tells how long a compaction takes.
            let over = match round {
                0 => number == 20,
                _ => started.elapsed() >= moment,
            };
            if over {
                break;
            }
            let id = format!("w{round}-{number}");
            articles.create_article(article(&id, 2_000)).await.unwrap();
            acknowledged.push(id);
            written += 1;
        }
        if round == 0 {
            last.store(true, Ordering::Release);
            compactions += compacting.await.unwrap();
            longest = started.elapsed();
            continue;
        }
        drop(server);
        compactions += compacting.await.unwrap();
        let states = states(&directory).await;
        let mut missing = acknowledged.clone();
        missing.retain(|id| !states.iter().any(|state| state.head.id.as_str() == id));
        assert_eq!(missing, Vec::<String>::new(), "acknowledged, and not there");
        // One write at most was under way, and none was: the writer waits for its answers.
        assert_eq!(states.len(), acknowledged.len());
    }
    println!(
        "{} kills, {compactions} compactions were done, {written} writes, all there",
        kills()
    );
}

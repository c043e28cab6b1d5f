//! Faults: the real server, as a process on real files, meets what happens to servers. After each fault every acknowledged
//! write is there as it was acknowledged, and every write that was under way is there once or not at all.
//!
//! One file per fault, each of which says what it does and which variable makes it longer:
//!
//! | file | fault | variable |
//! |---|---|---|
//! | `kill` | `kill -9` under load, and three times in a row while opening | `ARTICLE_STORE_TEST_KILLS` |
//! | `feed` | `kill -9` under load and followers of the changes that break off | `ARTICLE_STORE_TEST_FEED_KILLS` |
//! | `workers` | `kill -9` of workers with jobs in their hands, and of the server | `ARTICLE_STORE_TEST_WORKER_JOBS` |
//! | `power_loss` | the volume as it may be after the power was cut at any point | `ARTICLE_STORE_TEST_IMAGES` |
//! | `restore` | the same while a backup is restored in the place of a store | `ARTICLE_STORE_TEST_IMAGES` |
//! | `sync_error` | the disk fails a sync and forgets what was to be synced | `ARTICLE_STORE_TEST_SYNC_ERRORS` |
//! | `disk_full` | the volume fills up | |
//! | `opening` | a stop while the database takes long to open or reopen | |
//! | `rot` | bytes, ends of files and files get lost while the server is stopped | `ARTICLE_STORE_TEST_ROTS` |
//!
//! Kills while compacting, restoring and backing up are in `kill_admin`, with the variable of `kill`.
//!
//! `story`, `writer` and `client` write and compare; `process` runs the server. `shim` records what a server does to its
//! files, `recording` reads that, `volume` replays it, and `image` opens and compares what a power loss may leave.
//!
//! That these tests can fail is shown by taking a rule out of `store::kv::sled` for a moment. Whoever changes the harness
//! does it again; the short form that runs without variables is enough to see each:
//!
//! | rule taken out | what fails | with |
//! |---|---|---|
//! | `Opened::sync` syncs nothing | `power_loss`, `sync_error` | an acknowledged write is not there; writes are acknowledged without a sync |
//! | `chunks::CHUNK_BYTES` is 1 GiB | `power_loss` | sled made a file in `blobs/` |
//! | the same, blobs allowed and not synced | `power_loss`, of 48 images | a record is damaged: it is missing |
//! | `recover` leaves `snap.*.generating` | `kill`, while opening; often `power_loss` | sled cannot read its files |
//!
//! The last has a proof of its own in `store::kv::sled::tests`, and so have the chunks.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use article_store::clock::SystemClock;
use article_store::store::Store;
use article_store::store::kv::KvStore;
use article_store::store::kv::sled::{SledConfig, SledEngine};
use rustix::fs::{StatVfs, statvfs};
use tempfile::TempDir;

use crate::random::Random;

mod client;
mod disk_full;
mod feed;
mod image;
mod kill;
mod opening;
mod power_loss;
mod process;
mod recording;
mod restore;
mod rot;
mod shim;
mod story;
mod sync_error;
mod volume;
mod workers;
mod writer;

/// How long anything may take before the test fails; reading the whole store of a long run takes a while.
const LIMIT: Duration = Duration::from_secs(300);

/// How often to do something: what the variable says, or what is enough for every run.
fn times(variable: &str, default: u32) -> u32 {
    std::env::var(variable).map_or(default, |times| times.parse().unwrap())
}

/// A directory for a moment. If the test panics meanwhile, it is kept and named.
struct Kept {
    directory: TempDir,
    what: String,
}

impl Kept {
    fn new(what: String) -> Self {
        // In memory, if there is room: syncs cost nothing there, and have told already what they are worth.
        let memory = Path::new("/dev/shm");
        let has_room = |volume: StatVfs| volume.f_bavail * volume.f_frsize > 1 << 30;
        let directory = if statvfs(memory).is_ok_and(has_room) {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let directory = directory.unwrap();
        Self { directory, what }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            eprintln!("{}, in {}", self.what, self.path().display());
        }
    }
}

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below.max(1)
}

async fn within_limit<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("the test hangs")
}

/// Copies a directory and all below it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Tries until there is an answer.
async fn until<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    within_limit(async {
        // A pause, so that the processes that are waited for have the machine.
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        loop {
            if let Some(answer) = attempt().await {
                return answer;
            }
            pause.tick().await;
        }
    })
    .await
}

/// Everything in the store agrees, and its log has no gap. Answers how many commits there are.
async fn agrees(store: &dyn Store) -> u64 {
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
    seen
}

/// Opens the store as the next server would.
fn open(store: &Path) -> KvStore {
    let config = SledConfig {
        min_free_bytes: Some(0),
        ..SledConfig::new(store)
    };
    KvStore::open(SledEngine::open(config).unwrap(), Arc::new(SystemClock), 16 << 20).unwrap()
}

/// The same, and looks whether it [`agrees`].
async fn check(store: &Path) -> u64 {
    let store = open(store);
    let commits = agrees(&store).await;
    store.close().await.unwrap();
    commits
}

//! Full disks: the store is on a small volume of its own, an ext4 file system in a file, which takes root to mount, or a
//! `sudo` that does not ask.
//!
//! Below the floor of free space writes are refused, reads go on, and writes go on as soon as there is space, all without
//! a restart. When something else takes the last byte from under the database, nothing that was acknowledged is lost, and
//! the server mends itself when space returns.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::statvfs;
use rustix::process::{getegid, geteuid};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tonic::{Code, Status};

use super::client::Client;
use super::process::{Process, program};
use super::recording::History;
use super::writer::{Writer, none_failed, settle_together, write_together};
use super::{check, until, within_limit};
use crate::harness::{failure, waived};

const WRITERS: usize = 4;
const FLOOR_BYTES: u64 = 16 << 20;
/// What takes the space away.
const FILLER: &str = "filler";

/// A file system in a file, mounted until it is dropped.
struct Volume {
    directory: TempDir,
}

impl Volume {
    /// `None` where nothing can be mounted, and such tests are waived.
    fn mount(bytes: u64) -> Option<Self> {
        let volume = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let image = volume.directory.path().join("image");
        File::create(&image).unwrap().set_len(bytes).unwrap();
        std::fs::create_dir(volume.root()).unwrap();
        // No blocks for root alone, or a server that runs as root would have space where there is none.
        let mut make = Command::new("mkfs.ext4");
        let owner = format!("root_owner={}:{}", geteuid().as_raw(), getegid().as_raw());
        make.args(["-q", "-m", "0", "-E", &owner]).arg(&image);
        let mut mount = as_root("mount");
        mount.args(["-o", "loop"]).arg(&image).arg(volume.root());
        for mut command in [make, mount] {
            match command.output() {
                Ok(output) if output.status.success() => {}
                refused => {
                    let lacking = format!("no volume can be made and mounted here: {refused:?}");
                    waived("ARTICLE_STORE_TEST_SKIP_VOLUMES", &lacking);
                    return None;
                }
            }
        }
        Some(volume)
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("volume")
    }

    fn store(&self) -> PathBuf {
        self.root().join("store")
    }

    fn give_back(&self) {
        std::fs::remove_file(self.root().join(FILLER)).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // It may not be mounted, and a process that is about to end may still use it.
        drop(as_root("umount").arg("-l").arg(self.root()).output());
    }
}

fn as_root(program: &str) -> Command {
    if geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

fn available_bytes(root: &Path) -> u64 {
    let volume = statvfs(root).unwrap();
    volume.f_bavail * volume.f_frsize
}

/// Takes space until only so much is left; 0 takes the last byte.
fn fill(root: &Path, left_bytes: u64) {
    let mut filler = File::options()
        .create(true)
        .append(true)
        .open(root.join(FILLER))
        .unwrap();
    for block in [1 << 20, 4096, 1] {
        let block = vec![b'x'; block];
        while left_bytes == 0 || available_bytes(root) >= left_bytes + block.len() as u64 {
            match filler.write(&block) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A server on a small volume with its writers.
struct Scene {
    volume: Volume,
    server: Process,
    client: Client,
    writers: Vec<Writer>,
    history: History,
    log: PathBuf,
    floor_bytes: u64,
}

impl Scene {
    async fn new(volume_bytes: u64, floor_bytes: u64) -> Option<Self> {
        let volume = Volume::mount(volume_bytes)?;
        let log = volume.directory.path().join("log");
        let mut server = Process::start(program(&volume.store(), floor_bytes), &log);
        let client = Client::connect(server.address().await.expect("the server starts")).await;
        let history = History::new(&volume.directory.path().join("record"), std::iter::empty());
        let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
        writers[0].write_a_long_story();
        Some(Self {
            volume,
            server,
            client,
            writers,
            history,
            log,
            floor_bytes,
        })
    }

    /// Writes so much, all of which is accepted.
    async fn write(&mut self, count: u64) {
        let writers = std::mem::take(&mut self.writers);
        let done = move |acknowledged| acknowledged >= count;
        self.writers = none_failed(write_together(writers, &self.client, &self.history, done).await);
    }

    /// Writes until each writer has failed once. Answers how.
    async fn write_until_failure(&mut self) -> BTreeSet<String> {
        let writers = std::mem::take(&mut self.writers);
        let written = write_together(writers, &self.client, &self.history, |_| false).await;
        let mut reasons = BTreeSet::new();
        for (writer, failed) in written {
            self.writers.push(writer);
            reasons.insert(reason(&failed.expect("it writes until a write fails")));
        }
        reasons
    }

    /// All reads are answered, and show what was acknowledged. A write that failed may be there.
    async fn read(&mut self) {
        for story in self.writers.iter().flat_map(|writer| &writer.stories) {
            let found = until(async || self.client.clone().read(story).await.ok()).await;
            let with_doubt = story
                .in_flight
                .as_ref()
                .map(|request| story.known.state.after(request));
            assert!(
                found == story.known || Some(&found.state) == with_doubt.as_ref(),
                "{} has changed",
                story.name
            );
        }
    }

    /// The server takes writes again without a restart; what failed is found out about and tried again.
    async fn recover(&mut self) {
        let writers = std::mem::take(&mut self.writers);
        until(async || self.client.clone().list().await.ok()).await;
        let (writers, _) = settle_together(writers, &self.client, &self.history).await;
        self.writers = writers;
        self.write(20).await;
        self.read().await;
    }

    /// Stops the server. Answers its log.
    async fn stop(self) -> String {
        drop(self.client);
        self.server.stop().await;
        check(&self.volume.store()).await;
        std::fs::read_to_string(self.log).unwrap()
    }

    /// Kills the server and starts it again. In order it might not stop: sled has things to write even when nobody writes.
    async fn restart(mut self) -> Self {
        drop(self.client);
        self.server.kill();
        self.server = Process::start(program(&self.volume.store(), self.floor_bytes), &self.log);
        let address = self.server.address().await.expect("the server starts");
        let client = Client::connect(address).await;
        Self { client, ..self }
    }

    /// Has the last byte of the volume taken while the server writes. Answers how writes failed.
    async fn fill_under_load(&mut self) -> BTreeSet<String> {
        let root = self.volume.root();
        let filling = spawn_blocking(move || fill(&root, 0));
        let reasons = self.write_until_failure().await;
        within_limit(filling).await.unwrap();
        reasons
    }
}

/// The reason of a failed write, which is one of those that a full disk has, and whose caller may try again.
fn reason(status: &Status) -> String {
    let failure = failure(status);
    let expected = match failure.reason.as_str() {
        "STORE_FULL" => failure.code == Code::ResourceExhausted && failure.retry,
        "STORE_UNAVAILABLE" => failure.code == Code::Unavailable && failure.retry,
        "OUTCOME_UNKNOWN" => failure.code == Code::Unknown,
        _ => false,
    };
    assert!(expected, "{failure:?}");
    failure.reason
}

fn only(reason: &str) -> BTreeSet<String> {
    BTreeSet::from([reason.to_owned()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_refused_below_the_floor_and_go_on_above_it() {
    let Some(mut scene) = Scene::new(64 << 20, FLOOR_BYTES).await else {
        return;
    };
    scene.write(10).await;
    // The server itself fills the volume up to the floor.
    fill(&scene.volume.root(), FLOOR_BYTES + (4 << 20));
    assert_eq!(scene.write_until_failure().await, only("STORE_FULL"));
    assert!(available_bytes(&scene.volume.root()) > FLOOR_BYTES / 2);
    scene.read().await;
    scene.volume.give_back();
    scene.recover().await;
    // Others do, to the last byte, while nothing is written.
    fill(&scene.volume.root(), 0);
    assert_eq!(scene.write_until_failure().await, only("STORE_FULL"));
    scene.read().await;
    scene.volume.give_back();
    scene.recover().await;
    let log = scene.stop().await;
    // The refusals, and that they begin and end.
    let expected = [
        "\"article_store::rpc\"",
        "\"writes are refused: ",
        "\"the store serves reads and writes again\"",
    ];
    let mut others = log
        .lines()
        .filter(|line| !expected.iter().any(|expected| line.contains(expected)));
    assert_eq!(others.next(), None, "the engine has not broken");
}

/// Without a floor the database meets the full disk, and without room for a reserve it cannot be opened again before there
/// is space.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_to_the_last_byte_takes_nothing_that_was_acknowledged() {
    let Some(mut scene) = Scene::new(64 << 20, 0).await else {
        return;
    };
    scene.write(10).await;
    for _ in 0..2 {
        let reasons = scene.fill_under_load().await;
        println!("{reasons:?}");
        scene.volume.give_back();
        scene.recover().await;
    }
    let log = scene.stop().await;
    assert!(log.contains("sled failed"), "it met the full disk: {log}");
}

/// With a floor and a reserve reads go on whatever happens, and so does a start on the full disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_over_a_full_disk() {
    let Some(mut scene) = Scene::new(256 << 20, FLOOR_BYTES).await else {
        return;
    };
    scene.write(10).await;
    for _ in 0..2 {
        let reasons = scene.fill_under_load().await;
        println!("{reasons:?}");
        scene.read().await;
        scene.volume.give_back();
        scene.recover().await;
    }
    fill(&scene.volume.root(), 0);
    let mut scene = scene.restart().await;
    scene.read().await;
    fill(&scene.volume.root(), 0);
    assert_eq!(scene.write_until_failure().await, only("STORE_FULL"));
    scene.volume.give_back();
    scene.recover().await;
    let log = scene.stop().await;
    assert!(log.contains("giving up the reserve"), "{log}");
}

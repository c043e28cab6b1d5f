//! Rot: the files of a stopped store get damaged. The server refuses to open them and says which and what to do, or it
//! serves, answers `DATA_LOSS` for what is damaged and the truth about everything else. It never ends by itself.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tonic::{Code, Status};

use super::client::Client;
use super::process::{Process, program};
use super::recording::History;
use super::writer::{Writer, none_failed, write_together};
use super::{Kept, Random, copy, random, times};
use crate::harness::failure;

const WRITERS: usize = 4;
/// Acknowledgements in the lives of the server that makes the store.
const LIVES: [u64; 3] = [200, 200, 40];
const PAGE: u64 = 4096;

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// A bit changes.
    Bit(u64),
    /// A page is zeroed.
    Zeros(u64),
    /// A page is overwritten with noise.
    Noise(u64),
    /// Everything from here on is gone.
    Cut(u64),
    /// The file is gone.
    Removed,
}

impl Damage {
    fn at(at: u64, random: &mut Random) -> Self {
        match random.below(8) {
            0..3 => Self::Bit(at),
            3 => Self::Zeros(at / PAGE * PAGE),
            4 | 5 => Self::Noise(at / PAGE * PAGE),
            6 => Self::Cut(at),
            _ => Self::Removed,
        }
    }

    fn happen(self, path: &Path, random: &mut Random) {
        let file = fs::File::options().read(true).write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        match self {
            Self::Bit(at) => {
                let mut byte = [0];
                let read = file.read_at(&mut byte, at).unwrap();
                byte[0] ^= 1 << random.below(8);
                file.write_all_at(&byte[..read], at).unwrap();
            }
            Self::Zeros(at) | Self::Noise(at) => {
                let byte = |_| {
                    if matches!(self, Self::Noise(_)) {
                        random.below(256) as u8
                    } else {
                        0
                    }
                };
                let page: Vec<u8> = (0..PAGE.min(length.saturating_sub(at))).map(byte).collect();
                file.write_all_at(&page, at).unwrap();
            }
            Self::Cut(at) => file.set_len(at).unwrap(),
            Self::Removed => fs::remove_file(path).unwrap(),
        }
    }
}

/// A store that is damaged again and again, and what is in it.
struct Sound {
    store: PathBuf,
    writers: Vec<Writer>,
    /// Pages of the log that were written since the database was opened last. Damage there looks like a crash.
    newest: Vec<u64>,
}

impl Sound {
    async fn make(directory: &Path) -> Self {
        let history = History::new(&directory.join("record"), std::iter::empty());
        let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
        writers[0].write_a_long_story();
        let store = directory.join("store");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for life in LIVES {
            let mut server = Process::start(program(&store, 0), &directory.join("log"));
            let client = Client::connect(server.address().await.expect("the server starts")).await;
            let done = move |acknowledged| acknowledged >= life;
            writers = none_failed(write_together(writers, &client, &history, done).await);
            drop(client);
            server.stop().await;
            before = std::mem::replace(&mut after, fs::read(store.join("db/db")).unwrap());
        }
        // It is large and means nothing.
        fs::remove_file(store.join("reserve")).unwrap();
        let page = |bytes: &[u8], at: u64| bytes.get(at as usize..(at + PAGE) as usize).map(<[u8]>::to_vec);
        let is_new = |at: &u64| {
            let now = page(&after, *at);
            now != page(&before, *at) && now.is_some_and(|page| page.iter().any(|byte| *byte != 0))
        };
        let pages = (0..after.len() as u64).step_by(PAGE as usize);
        let newest = pages.filter(is_new).collect();
        Self {
            store,
            writers,
            newest,
        }
    }

    /// Damages one file of a copy, once or twice. Answers what happened.
    fn damage(&self, copy: &Path, random: &mut Random) -> String {
        // The log of the database is where the data are.
        let log = copy.join("db/db");
        let path = match random.below(4) {
            0 => {
                let mut files = files(copy);
                files.swap_remove(random.below(files.len() as u64) as usize)
            }
            _ => log.clone(),
        };
        let mut said = path.file_name().unwrap().to_string_lossy().into_owned();
        for _ in 0..=random.below(2) {
            let Ok(length) = path.metadata().map(|file| file.len()) else {
                continue;
            };
            let mut at = random.below(length);
            if path == log && random.below(2) == 0 {
                at %= PAGE;
                at += self.newest[random.below(self.newest.len() as u64) as usize];
            }
            let damage = Damage::at(at.min(length), random);
            damage.happen(&path, random);
            write!(said, " {damage:?}").unwrap();
        }
        said
    }
}

/// All files below a directory, in a fixed order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What servers made of damaged stores.
#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    /// Stores that were served with damaged articles, and how many articles that were.
    damaged: usize,
    damaged_articles: usize,
    /// Stores of which everything was served, because the damage hit what is not in use.
    unharmed: usize,
    right_articles: usize,
}

fn assert_names_a_record(status: &Status) {
    let failure = failure(status);
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (Code::DataLoss, "RECORD_DAMAGED"),
        "{failure:?}"
    );
    assert!(!failure.metadata["record"].is_empty(), "{failure:?}");
}

impl Tally {
    async fn serve(&mut self, store: &Path, log: &Path, writers: &[Writer]) {
        let mut server = Process::start(program(store, 0), log);
        match server.address().await {
            Some(address) => {
                self.read(Client::connect(address).await, writers).await;
                server.stop().await;
            }
            None => {
                let status = server.ended().await;
                let log = fs::read_to_string(log).unwrap();
                assert_eq!(status.code(), Some(1), "{log}");
                let said = log.lines().last().unwrap_or_default();
                let names_file = said.contains(&store.join("db").display().to_string())
                    || said.contains(&store.display().to_string()) && said.contains("the file db/db");
                assert!(
                    names_file && said.contains("restore a backup"),
                    "it does not say which file and what to do: {log}"
                );
                self.refused += 1;
            }
        }
    }

    async fn read(&mut self, mut client: Client, writers: &[Writer]) {
        let (mut right, mut damaged, mut names) = (0, 0, Vec::new());
        for story in writers.iter().flat_map(|writer| &writer.stories) {
            match client.read(story).await {
                Ok(found) => {
                    assert!(found == story.known, "{} is not what it was", story.name);
                    right += 1;
                }
                Err(status) => {
                    assert_names_a_record(&status);
                    damaged += 1;
                }
            }
            names.extend(story.known.is_listed().then(|| story.name.clone()));
        }
        names.sort();
        match client.list().await {
            Ok(listed) => assert_eq!(listed, names),
            Err(status) => assert_names_a_record(&status),
        }
        assert!(
            right > damaged,
            "{damaged} articles cannot be read, and {right} can"
        );
        self.unharmed += usize::from(damaged == 0);
        self.damaged += usize::from(damaged > 0);
        self.right_articles += right;
        self.damaged_articles += damaged;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rot_is_refused_or_named_and_never_believed() {
    let rots = times("ARTICLE_STORE_TEST_ROTS", 12);
    let seed = random(u64::MAX);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let directory = tempfile::tempdir().unwrap();
    let sound = Sound::make(directory.path()).await;
    let mut tally = Tally::default();
    for number in 0..rots {
        let mut kept = Kept::new(String::new());
        let store = kept.path().join("store");
        copy(&sound.store, &store);
        kept.what = format!("store {number}: {}", sound.damage(&store, &mut random));
        let log = kept.path().join("log");
        tally.serve(&store, &log, &sound.writers).await;
    }
    println!("{rots} damaged stores: {tally:?}");
}

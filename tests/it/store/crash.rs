//! Kills: this binary starts itself as a process that writes under load, and kills it at random.
//!
//! `ARTICLE_STORE_TEST_KILLS` is the number of kills (default: 10). The kernel keeps what was written, so this proves the
//! order of writes and recovery; power loss is tested with the engine.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use article_store::clock::SystemClock;
use article_store::domain::article::Content;
use article_store::domain::change::JobStep;
use article_store::domain::ids::TranslationId;
use article_store::domain::job::{ClaimQuery, Job, JobKind};
use article_store::domain::version::VersionKey;
use article_store::store::kv::KvStore;
use article_store::store::kv::sled::{SledConfig, SledEngine};
use article_store::store::{Body, Conflict, Store, StoreError};

use super::bench::{article, sled_config, within_limit};
use super::claims::claim;
use super::fixtures::*;

/// Names the directory to write to, when this binary is started as a process to be killed.
const DIRECTORY: &str = "ARTICLE_STORE_TEST_CRASH_DIRECTORY";
/// Tells the processes of one test apart, so that their articles are new.
const ROUND: &str = "ARTICLE_STORE_TEST_CRASH_ROUND";
/// How often to kill.
const KILLS: &str = "ARTICLE_STORE_TEST_KILLS";
const WRITERS: u64 = 6;

/// Reopens every few MB of log, so that kills meet that too.
fn open(directory: &Path) -> KvStore {
    let config = SledConfig {
        reopen_after_bytes: 3 << 20,
        ..sled_config(directory)
    };
    KvStore::open(SledEngine::open(config).unwrap(), Arc::new(SystemClock), 1 << 20).unwrap()
}

/// What the revision of an article says, or its translation.
fn paragraphs(name: &str, number: u32) -> Vec<String> {
    (0..3)
        .map(|part| {
            format!("{name} {number} {part} ")
                .repeat(20)
                .trim_end()
                .to_owned()
        })
        .collect()
}

fn text(name: &str, number: u32) -> Content {
    let paragraphs = paragraphs(name, number);
    let paragraphs: Vec<&str> = paragraphs.iter().map(String::as_str).collect();
    content(&format!("{name} {number}"), &paragraphs)
}

fn address(name: &str) -> String {
    format!("https://e.test/{name}")
}

fn translation(name: &str, number: u32) -> Vec<String> {
    let title = format!("{name} {number} fr");
    std::iter::once(title).chain(paragraphs(name, number)).collect()
}

/// Creates an article, revises it and translates it over and over, and says what was acknowledged: seq, kind, article
/// and number.
async fn write(store: &dyn Store, round: u64, task: u64) {
    let said = |seq: u64, kind: &str, name: &str, number: u32| println!("ack {seq} {kind} {name} {number}");
    for count in 0.. {
        let name = format!("r{round}-{task}-{count}");
        let request = (round << 40) + (task << 32) + count;
        let new = create(&id(&name), metadata_at(&address(&name)), text(&name, 1));
        let stamp = store.commit(with_request(new, request)).await.unwrap().stamp;
        said(stamp.seq, &format!("create:{request}"), &name, 1);
        for number in 2..4 {
            let state = article(store, &id(&name)).await.unwrap();
            let new = revise(&state, text(&name, number));
            said(
                store.commit(new).await.unwrap().stamp.seq,
                "revise",
                &name,
                number,
            );
            let state = article(store, &id(&name)).await.unwrap();
            let texts = translation(&name, number);
            let new = attach(store, &state, &language("fr"), &texts).await.unwrap();
            said(
                store.commit(new).await.unwrap().stamp.seq,
                "attach",
                &name,
                number,
            );
        }
        for (version, job) in (1..).zip(work_on(store, &name, request).await) {
            said(job.changed.seq, "job", &name, version);
        }
        contend(store, round, task, count).await;
    }
}

/// Opens a job, claims it and ends it; answers it as it was each time.
async fn work_on(store: &dyn Store, name: &str, number: u64) -> Vec<Arc<Job>> {
    let (article_id, key) = (id(name), key("de", JobKind::Mt));
    let now = async || article(store, &article_id).await.unwrap();
    let state = now().await;
    let batch = put_jobs(&state, vec![(opened(&state, &key, order()), JobStep::Opened)]);
    store.commit(batch).await.unwrap();
    let open = now().await.jobs[&key].clone();
    let query = ClaimQuery {
        ids: vec![open.id.clone()],
        ..ClaimQuery::default()
    };
    let mut asked = claim(&query, 1, 3_600);
    asked.grants = vec![grant(u128::from(number), 3_600)];
    let leased = store.claim(asked).await.unwrap().jobs.remove(0);
    let state = now().await;
    let batch = put_jobs(&state, vec![(leased.canceled(false), JobStep::Canceled)]);
    store.commit(batch).await.unwrap();
    vec![open, leased, now().await.jobs[&key].clone()]
}

/// Adds to an article that all writers change.
async fn contend(store: &dyn Store, round: u64, task: u64, count: u64) {
    let shared = id(&format!("shared{round}"));
    loop {
        let batch = match article(store, &shared).await {
            None => simple(&shared),
            Some(state) => {
                let texts = texts(&format!("{task} {count}"), 2);
                attach(store, &state, &language("de"), &texts).await.unwrap()
            }
        };
        match store.commit(batch).await {
            Err(StoreError::Conflict(Conflict::Article(_) | Conflict::Slot(..))) => {}
            result => {
                result.unwrap();
                return;
            }
        }
    }
}

/// Not a test of its own: the process that `acknowledged_commits_survive_kills` kills.
#[test]
fn process_to_be_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let round = std::env::var(ROUND).unwrap().parse().unwrap();
    println!("\nopening");
    within_limit(async {
        let store = open(Path::new(&directory));
        println!("open");
        futures::future::join_all((0..WRITERS).map(|task| write(&store, round, task))).await;
    });
}

fn start(directory: &Path, round: u64) -> (Child, mpsc::Receiver<String>) {
    let name = format!(
        "{}::process_to_be_killed",
        module_path!().split_once("::").unwrap().1
    );
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name.as_str(), "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        lines
            .map_while(|line| line.ok())
            .try_for_each(|line| sender.send(line))
    });
    (child, receiver)
}

/// Everything that was acknowledged is there as it was written.
async fn verify(store: &dyn Store, acknowledged: &BTreeMap<u64, String>) {
    for (seq, said) in acknowledged {
        let words: Vec<&str> = said.split(' ').collect();
        let [kind, name, number] = words[..] else {
            panic!("{said:?}");
        };
        let number: u32 = number.parse().unwrap();
        let state = article(store, &id(name)).await.unwrap();
        if kind == "job" {
            let job = &state.jobs[&key("de", JobKind::Mt)];
            assert!(job.version >= number && job.changed.seq >= *seq, "{said}");
            continue;
        }
        assert!(state.head.revision() >= number, "{said}");
        let newest = if kind == "attach" {
            let slot = &state.slots[&language("fr")];
            slot.version_key(slot.translation(TranslationId(1)).unwrap())
        } else {
            state.head.revision_key(state.head.revision())
        };
        let numbered = |number| VersionKey {
            number,
            ..newest.clone()
        };
        let keys: Vec<_> = (1..=newest.number).map(numbered).collect();
        let versions = store.versions(&keys).await.unwrap();
        let body = versions
            .iter()
            .find(|body| body.version().stamp.seq == *seq)
            .unwrap();
        match &**body {
            Body::Revision(revision) => assert_eq!(revision.content, text(name, number), "{said}"),
            Body::Translation(version) => {
                let texts = version.texts.iter().map(|text| text.text().to_owned());
                assert!(texts.eq(translation(name, number)), "{said}");
                assert!(state.slots[&language("fr")].version >= number - 1, "{said}");
            }
            other => panic!("{said}: {other:?}"),
        }
        if let Some(request) = kind.strip_prefix("create:") {
            let key = request_key(request.parse().unwrap());
            let request = store.request(&key).await.unwrap().unwrap();
            assert_eq!((request.stamp.seq, &request.article), (*seq, &id(name)));
            let holder = store.lookup(&[url(&address(name))]).await.unwrap();
            assert_eq!(holder, [Some(id(name))]);
        }
    }
    let last = acknowledged.keys().next_back().copied().unwrap_or_default();
    assert!(store.status().await.unwrap().seq >= last);
    let mut seen = 0;
    loop {
        let part = store.changes(seen, 1000).await.unwrap();
        if part.commits.is_empty() {
            assert_eq!(seen, part.head);
            break;
        }
        for commit in part.commits {
            seen += 1;
            assert_eq!(commit.stamp.seq, seen, "the log has a gap");
        }
    }
    assert_eq!(store.check().await.unwrap(), []);
}

#[test]
fn acknowledged_commits_survive_kills() {
    let directory = tempfile::tempdir().unwrap();
    let kills = std::env::var(KILLS).map_or(10, |kills| kills.parse().unwrap());
    let mut acknowledged = BTreeMap::new();
    let mut killed_while_opening = 0;
    for round in 0..kills {
        let (mut child, lines) = start(directory.path(), round);
        while lines.recv().expect("the writer starts") != "opening" {}
        let mut said: Vec<String> = Vec::new();
        // A third of the kills may come while the store is being opened, and the others after a commit.
        let limit = if round % 3 == 0 { 100_000 } else { 500_000 };
        while round % 3 != 0 && !said.last().is_some_and(|line| line.starts_with("ack ")) {
            said.push(lines.recv().expect("the writer commits"));
        }
        let life = Duration::from_micros(RandomState::new().hash_one(round) % limit);
        let deadline = Instant::now() + life;
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            said.push(line);
        }
        assert!(
            child.try_wait().unwrap().is_none(),
            "the writer ended by itself: {said:?}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines);
        killed_while_opening += u32::from(!said.iter().any(|line| line == "open"));
        acknowledged.extend(said.iter().filter_map(|line| {
            let (seq, rest) = line.strip_prefix("ack ")?.split_once(' ')?;
            Some((seq.parse::<u64>().unwrap(), rest.to_owned()))
        }));
        within_limit(async {
            let store = open(directory.path());
            verify(&store, &acknowledged).await;
            store.close().await.unwrap();
        });
    }
    println!(
        "{killed_while_opening} kills while opening, {} commits",
        acknowledged.len()
    );
    assert!(!acknowledged.is_empty());
}

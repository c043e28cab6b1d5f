//! A purge leaves no text of the article anywhere in the engine, frees its aliases, and keeps its id.

use std::ops::ControlFlow;

use article_store::domain::access::Visibility;
use article_store::domain::article::{ArticleId, Tombstone};
use article_store::domain::change::{Event, JobStep, Kind};
use article_store::domain::job::{Job, JobKind};
use article_store::domain::provenance::Actor;
use article_store::domain::time::{Stamp, Timestamp};
use article_store::store::kv::engine::{Direction, Engine, Write};
use article_store::store::{Batch, Body, Conflict, Expect, StoreError};

use super::backup::{back_up_to, restore};
use super::bench::{self, Bench, run, within_limit};
use super::fixtures::*;
use super::trimming::trim_all;

on_every_store! {
    a_purge_frees_the_aliases_and_keeps_the_id,
    what_an_article_had_is_purged_with_it,
}

on_every_engine! {
    a_purge_leaves_no_text,
    a_damaged_article_can_be_purged,
    a_damaged_article_can_be_purged_when_its_log_is_trimmed,
    a_purge_of_another_state_is_refused,
    a_long_history_is_purged_in_steps,
}

/// What stands in texts and metadata of the article to purge and nowhere else.
const SECRETS: [&str; 14] = [
    "لن يقرأها أحد",
    "المتن السري الأول",
    "المتن السري الثاني",
    "traduction confidentielle",
    "secret-translation",
    "secret-engine",
    "secret.test",
    "secret-guid",
    "secret-keyword",
    "secret-label",
    "secret-status-reason",
    "secret-author",
    "secret-worker",
    "secret-failure",
];

/// An article with many versions of everything that an article has.
async fn secret_article(bench: &Bench) -> ArticleId {
    let article = id("secret-id");
    let mut metadata = metadata_at("https://secret.test/page");
    metadata.guid = SECRETS[7].into();
    metadata.keywords = vec![SECRETS[8].into()];
    metadata.labels = [("desk".to_owned(), SECRETS[9].to_owned())].into();
    metadata.authors = vec![SECRETS[11].into()];
    // Long texts are compressed, short ones are not.
    let long = format!("{} {}", SECRETS[1], "نص طويل ".repeat(200));
    let new = create(&article, metadata, content(SECRETS[0], &[&long, "short"]));
    bench.store.commit(with_request(new, 1)).await.unwrap();
    for round in 0..6 {
        let state = bench.article(&article).await.unwrap();
        let paragraph = format!("{} {round}", SECRETS[2]);
        let batch = revise(&state, content(SECRETS[0], &[&long, &paragraph]));
        bench.store.commit(batch).await.unwrap();
        let state = bench.article(&article).await.unwrap();
        for (tag, secret) in [("fr", SECRETS[3]), ("en", SECRETS[4])] {
            let texts = texts(&format!("{secret} {round}"), 2);
            let mut batch = attach(&*bench.store, &state, &language(tag), &texts)
                .await
                .unwrap();
            for (_, body) in &mut batch.bodies {
                if let Body::Translation(version) = body {
                    version.provenance.agent.engine = SECRETS[5].into();
                }
            }
            bench.store.commit(batch).await.unwrap();
        }
    }
    secret_jobs(bench, &article).await;
    let state = bench.article(&article).await.unwrap();
    let embargo = change(&state, Kind::PublicationStatusChanged, |version| {
        version.visibility = Visibility::Embargoed;
        version.metadata.embargo_time = Some(Timestamp::MAX);
        version.metadata.status_reason = SECRETS[10].into();
    });
    bench.store.commit(with_request(embargo, 2)).await.unwrap();
    article
}

/// An open job, a leased one, and ended ones of which one was replaced.
async fn secret_jobs(bench: &Bench, article: &ArticleId) {
    let put = async |job: Job, step| {
        let state = bench.article(article).await.unwrap();
        bench
            .store
            .commit(put_jobs(&state, vec![(job, step)]))
            .await
            .unwrap();
        bench.article(article).await.unwrap()
    };
    let (fr, de) = (key("fr", JobKind::Mt), key("de", JobKind::Human));
    let state = bench.article(article).await.unwrap();
    for key in [key("de", JobKind::Mt), key("fr", JobKind::Review)] {
        put(opened(&state, &key, order()), JobStep::Opened).await;
    }
    let state = put(opened(&state, &de, order()), JobStep::Opened).await;
    let mut leased = state.jobs[&de].leased(grant(1, 60), Timestamp::MIN);
    leased.lease.as_mut().unwrap().worker = SECRETS[12].into();
    put(leased, JobStep::Claimed).await;
    for _ in 0..2 {
        let state = bench.article(article).await.unwrap();
        let state = put(opened(&state, &fr, order()), JobStep::Opened).await;
        let mut dead = state.jobs[&fr].leased(grant(2, 60), Timestamp::MIN).expired();
        dead.last_failure.as_mut().unwrap().message = SECRETS[13].into();
        put(dead, JobStep::Dead).await;
    }
    assert_eq!(bench.store.replaced_jobs(article).await.unwrap().len(), 1);
}

pub(crate) fn purge(article: &ArticleId, version: u32) -> Batch {
    let event = Event {
        kind: Kind::ArticlePurged,
        article: article.clone(),
        revision: 7,
        language: None,
        etag: None,
        scope: (&metadata()).into(),
        previous: None,
    };
    Batch {
        expect: vec![Expect::Head(Some(version))],
        events: vec![event],
        purge: Some(Tombstone {
            article: article.clone(),
            stamp: Stamp::PENDING,
            reason: "court order 17".into(),
            actor: Actor::default(),
        }),
        ..Batch::new(article.clone())
    }
}

async fn purge_now(bench: &Bench, article: &ArticleId) -> Stamp {
    let version = bench.article(article).await.unwrap().head.version();
    bench.store.commit(purge(article, version)).await.unwrap().stamp
}

/// Every record of the engine: its key, its bytes as stored, and its payload without frame and compression.
fn everything(bench: &Bench) -> Vec<[Vec<u8>; 3]> {
    let mut all = Vec::new();
    let mut visit = |key: &[u8], record: &[u8]| {
        // Departures have no envelope.
        let payload = if key[0] == b'f' {
            Vec::new()
        } else {
            payload(record)
        };
        all.push([key.to_vec(), record.to_vec(), payload]);
        ControlFlow::Continue(())
    };
    bench
        .engine()
        .scan(&[0]..=&[0xFE], Direction::Forward, &mut visit)
        .unwrap();
    all
}

/// What the envelope of a record holds, by the description of its format.
fn payload(record: &[u8]) -> Vec<u8> {
    let payload = &record[26..];
    match record[1] {
        0 => payload.to_vec(),
        _ => {
            let length = u32::from_be_bytes(payload[..4].try_into().unwrap());
            zstd::bulk::decompress(&payload[4..], length as usize).unwrap()
        }
    }
}

/// The secrets that are to be found in the engine.
fn found(bench: &Bench) -> Vec<&'static str> {
    let everything = everything(bench);
    let holds = |secret: &&str| {
        everything
            .iter()
            .flatten()
            .any(|bytes| bytes.windows(secret.len()).any(|part| part == secret.as_bytes()))
    };
    SECRETS.into_iter().filter(holds).collect()
}

async fn a_purge_leaves_no_text(bench: &mut Bench) {
    bench.store.commit(simple(&id("other"))).await.unwrap();
    let before: Vec<_> = everything(bench)
        .into_iter()
        .filter(|[key, ..]| !matches!(key[0], b'c' | b'l'))
        .collect();
    let counts = bench.store.status().await.unwrap().counts;
    let article = secret_article(bench).await;
    assert_eq!(found(bench), SECRETS);
    assert_eq!(bench.store.check().await.unwrap(), []);
    let stamp = purge_now(bench, &article).await;
    assert_eq!(found(bench), Vec::<&str>::new());
    // Of the article nothing is there but the log, the recorded requests and the tombstone.
    let mut after = everything(bench);
    after.retain(|[key, ..]| !matches!(key[0], b'c' | b'l' | b'r' | b'x' | b'y'));
    assert!(after == before, "something is left, or gone, beside the article");
    assert_eq!(bench.store.status().await.unwrap().counts, counts);
    assert_eq!(bench.records(b'x').len(), 1);
    bench.reopen().await;
    assert_eq!(found(bench), Vec::<&str>::new());
    assert_eq!(bench.article(&article).await, None);
    let tombstone = bench.store.tombstone(&article).await.unwrap().unwrap();
    assert_eq!(
        (tombstone.stamp, tombstone.reason.as_str()),
        (stamp, "court order 17")
    );
    assert_eq!(bench.store.tombstone(&id("other")).await.unwrap(), None);
    let request = bench.store.request(&request_key(1)).await.unwrap().unwrap();
    assert_eq!(request.article, article);
}

async fn a_purge_frees_the_aliases_and_keeps_the_id(bench: &mut Bench) {
    let article = secret_article(bench).await;
    let address = url("https://secret.test/page");
    purge_now(bench, &article).await;
    assert_eq!(
        bench.store.lookup(std::slice::from_ref(&address)).await.unwrap(),
        [None]
    );
    let again = bench.store.commit(simple(&article)).await;
    let refused = StoreError::Conflict(Conflict::Purged(article.clone()));
    assert_eq!(again, Err(refused.clone()));
    let heir = create(
        &id("heir"),
        metadata_at("https://secret.test/page"),
        content("t", &["p"]),
    );
    bench.store.commit(heir).await.unwrap();
    assert_eq!(bench.store.lookup(&[address]).await.unwrap(), [Some(id("heir"))]);
    bench.reopen().await;
    assert_eq!(bench.store.commit(simple(&article)).await, Err(refused));
    // A request about it can be recorded all the same.
    let recorded = with_request(Batch::new(article), 9);
    bench.store.commit(recorded).await.unwrap();
}

/// A caller that read the article before learns of the purge from whatever it reads next, also of what was cached.
async fn what_an_article_had_is_purged_with_it(bench: &mut Bench) {
    let article = secret_article(bench).await;
    let state = bench.article(&article).await.unwrap();
    let versions = all_versions(&state);
    bench.store.versions(&versions).await.unwrap();
    let lookup = all_that_was(&*bench.store, &state).await;
    let departed = bench.store.departures(&article, &lookup).await.unwrap();
    assert!(departed.texts.len() > 4 && departed.contents.len() > 4);
    bench.store.commit(simple(&id("other"))).await.unwrap();
    let other = newest_revision(&bench.article(&id("other")).await.unwrap());
    let stamp = purge_now(bench, &article).await;
    for _ in 0..2 {
        assert_eq!(bench.article(&article).await, None);
        let tombstone = bench.store.tombstone(&article).await.unwrap().unwrap();
        assert_eq!(tombstone.stamp, stamp);
        let purged = StoreError::Purged(Box::new(tombstone));
        for version in &versions {
            let read = bench.store.versions(&[other.clone(), version.clone()]).await;
            assert_eq!(read, Err(purged.clone()), "{version}");
            let time = Timestamp::MAX;
            assert_eq!(bench.store.version_at(version, time).await, Err(purged.clone()));
        }
        let departures = bench.store.departures(&article, &lookup).await;
        assert_eq!(departures, Err(purged));
        bench.store.versions(std::slice::from_ref(&other)).await.unwrap();
        assert_eq!(bench.store.scan(None, 10).await.unwrap().len(), 1);
        assert_eq!(bench.store.jobs(None, 10).await.unwrap(), []);
        assert_eq!(bench.store.replaced_jobs(&article).await.unwrap(), []);
        let due = bench.store.due_embargoes(Timestamp::MAX, 10).await.unwrap();
        assert_eq!(due, Vec::<ArticleId>::new());
        bench.reopen().await;
    }
}

async fn a_damaged_article_can_be_purged(bench: &mut Bench) {
    purge_damaged(bench, false).await;
}

async fn a_damaged_article_can_be_purged_when_its_log_is_trimmed(bench: &mut Bench) {
    purge_damaged(bench, true).await;
}

async fn purge_damaged(bench: &mut Bench, trimmed: bool) {
    let article = secret_article(bench).await;
    let mut others = 0;
    if trimmed {
        // What is written beside it has no part in it.
        for name in ["x", "y"] {
            bench.store.commit(simple(&id(name))).await.unwrap();
            others += 2;
        }
        trim_all(bench).await;
        assert_eq!(bench.records(b'l').len(), 1);
    }
    let bodies = bench.records(b'v');
    for at in [3, bodies.len() / 2] {
        let (key, mut record) = bodies[at].clone();
        *record.last_mut().unwrap() ^= 0x10;
        bench.engine().apply(vec![Write::Put(key, record)]).unwrap();
    }
    bench.reopen_with_cache(0).await;
    purge_now(bench, &article).await;
    assert_eq!(bench.records(b'v').len(), others);
    assert_eq!(found(bench), Vec::<&str>::new());
}

async fn a_long_history_is_purged_in_steps(bench: &mut Bench) {
    let article = secret_article(bench).await;
    bench.store.commit(simple(&id("other"))).await.unwrap();
    // Versions for more than a step, then deltas with their rows.
    for round in 0..520 {
        let state = bench.article(&article).await.unwrap();
        let edited = edit(&state, |metadata| {
            metadata.keywords = vec![format!("{} {round}", SECRETS[8])];
        });
        bench.store.commit(edited).await.unwrap();
    }
    for round in 0..80 {
        let state = bench.article(&article).await.unwrap();
        let texts: Vec<_> = (0..20)
            .map(|text| format!("{} {round} {text}", SECRETS[2]))
            .collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        bench
            .store
            .commit(revise(&state, content(SECRETS[0], &texts)))
            .await
            .unwrap();
    }
    let state = bench.article(&article).await.unwrap();
    let old = state.head.revision_key(70);
    bench.store.versions(std::slice::from_ref(&old)).await.unwrap();
    let lookup = all_that_was(&*bench.store, &state).await;
    purge_now(bench, &article).await;
    // The step that is the commit, and others; the store is opened again between them.
    let mut steps = 1;
    loop {
        let left = ["v", "o", "d", "f", "k", "u"].map(|prefix| bench.records(prefix.as_bytes()[0]).len());
        assert_eq!(bench.article(&article).await, None);
        assert!(bench.store.tombstone(&article).await.unwrap().is_some());
        let gone = bench.store.versions(std::slice::from_ref(&old)).await;
        assert!(matches!(gone, Err(StoreError::Purged(_))), "{gone:?}");
        let departed = bench.store.departures(&article, &lookup).await;
        assert!(matches!(departed, Err(StoreError::Purged(_))), "{departed:?}");
        assert_eq!(bench.store.replaced_jobs(&article).await.unwrap(), []);
        assert_eq!(bench.store.jobs(None, 10).await.unwrap(), []);
        let again = bench.store.commit(simple(&article)).await;
        assert_eq!(
            again,
            Err(StoreError::Conflict(Conflict::Purged(article.clone())))
        );
        assert_eq!(bench.store.check().await.unwrap(), []);
        let (file, target) = (
            bench.directory.path().join("backup"),
            tempfile::tempdir().unwrap(),
        );
        back_up_to(&*bench.store, &file).await;
        let config = bench::sled_config(target.path());
        let restored = restore(&file, &config, false).await.unwrap();
        assert_eq!(restored.manifest.counts.get("bodies"), Some(&2));
        bench.reopen().await;
        if !bench.store.expire_requests(Timestamp::MIN).await.unwrap() {
            assert_eq!(left, [2, 0, 0, 0, 0, 0]);
            break;
        }
        assert_eq!(left[5], 1, "{left:?}");
        steps += 1;
    }
    assert!(steps > 2, "{steps}");
    assert_eq!(found(bench), Vec::<&str>::new());
}

async fn a_purge_of_another_state_is_refused(bench: &mut Bench) {
    let article = secret_article(bench).await;
    let version = bench.article(&article).await.unwrap().head.version();
    let conflict = StoreError::Conflict(Conflict::Article(article.clone()));
    let refused = bench.store.commit(purge(&article, version - 1)).await;
    assert_eq!(refused, Err(conflict));
    let missing = bench.store.commit(purge(&id("none"), 1)).await;
    assert_eq!(missing, Err(StoreError::Conflict(Conflict::Article(id("none")))));
    assert_eq!(found(bench), SECRETS);
}

#[test]
fn the_check_finds_what_is_left_of_a_purged_article() {
    within_limit(async {
        let bench = Bench::new(bench::Kind::Memory);
        let article = secret_article(&bench).await;
        let before = everything(&bench);
        purge_now(&bench, &article).await;
        assert_eq!(bench.store.check().await.unwrap(), []);
        // Whatever a purge would forget is found, one record after the other.
        for [key, record, _] in before
            .into_iter()
            .filter(|[key, ..]| !matches!(key[0], b'l' | b'm' | b'r' | b'y'))
        {
            bench
                .engine()
                .apply(vec![Write::Put(key.clone(), record)])
                .unwrap();
            let findings = bench.store.check().await.unwrap();
            assert!(!findings.is_empty(), "{}", String::from_utf8_lossy(&key));
            bench.engine().apply(vec![Write::Remove(key)]).unwrap();
        }
        let (key, mut record) = bench.records(b'x').remove(0);
        *record.last_mut().unwrap() ^= 1;
        bench.engine().apply(vec![Write::Put(key, record)]).unwrap();
        let findings = bench.store.check().await.unwrap();
        assert!(
            findings
                .iter()
                .any(|finding| finding.record == "tombstone secret-id"),
            "{findings:?}"
        );
        bench.store.close().await.unwrap();
    });
}

/// What all files of the store hold, whatever the engine makes of it, without blocks that are empty.
fn files(bench: &Bench) -> Vec<u8> {
    let mut directories = vec![bench.directory.path().to_owned()];
    let mut all = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let file = std::fs::read(path).unwrap();
            let blocks = file.chunks(4_096);
            all.extend(
                blocks
                    .filter(|block| **block != [0; 4_096][..block.len()])
                    .flatten(),
            );
        }
    }
    all
}

#[test]
fn after_a_compaction_no_file_holds_a_record_of_a_purged_article() {
    run(bench::Kind::Sled, async |bench: &mut Bench| {
        bench.store.commit(simple(&id("other"))).await.unwrap();
        let other = bench.records(b'v').pop().unwrap().1;
        let article = secret_article(bench).await;
        let mut records = bench.records(b'v');
        records.retain(|(_, record)| *record != other && record.len() > 200);
        assert!(records.len() > 3);
        purge_now(bench, &article).await;
        bench.store.compact().await.unwrap();
        bench.reopen().await;
        let files = files(bench);
        let hold = |bytes: &[u8]| files.windows(bytes.len()).any(|part| part == bytes);
        assert!(hold(&other), "the test does not see records in the files");
        // Not even in a record that is not compressed.
        for secret in SECRETS {
            assert!(!hold(secret.as_bytes()), "{secret}");
        }
        for (key, record) in records {
            // Chunks and pages hold a value in pieces; each piece is found by a part of it.
            let part = &record[30..record.len().min(150)];
            assert!(!hold(part), "{key:?}");
        }
    });
}

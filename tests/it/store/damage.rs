//! The check finds what is broken and names the record; reads of it fail, and of nothing else.

use std::sync::Arc;

use article_store::domain::access::Visibility;
use article_store::domain::change::JobStep;
use article_store::domain::job::{Job, JobKind};
use article_store::domain::query::{Axis, Order, Query, Range};
use article_store::domain::time::Timestamp;
use article_store::domain::version::{Series, VersionKey};
use article_store::store::kv::KvStore;
use article_store::store::kv::engine::{Engine, Write};
use article_store::store::kv::sled::SledEngine;
use article_store::store::{Budget, Finding, OpenError, StoreError};

use super::bench::{Bench, Kind, sled_config, within_limit};
use super::fixtures::*;

/// Three articles of nine commits: `a` (1) with a slot (4), a revision (5) and an address, `b` (2), `c` (3), changed
/// metadata of `b` (6) and `c` (7), a job of `c` (8) that the next one replaces (9). Every commit has its own log group.
async fn filled(kind: Kind) -> Bench {
    let bench = Bench::new(kind);
    let new = create(&id("a"), metadata_at("https://e.test/a"), content("t", &["p"]));
    bench.store.commit(with_request(new, 1)).await.unwrap();
    for name in ["b", "c"] {
        bench.store.commit(simple(&id(name))).await.unwrap();
    }
    let state = bench.article(&id("a")).await.unwrap();
    let slot = attach(&*bench.store, &state, &language("fr"), &texts("x", 1))
        .await
        .unwrap();
    bench.store.commit(slot).await.unwrap();
    bench
        .store
        .commit(revise(&state, content("u", &["q"])))
        .await
        .unwrap();
    for name in ["b", "c"] {
        let state = bench.article(&id(name)).await.unwrap();
        bench
            .store
            .commit(change(
                &state,
                article_store::domain::change::Kind::ArticleMetadataChanged,
                |version| {
                    version.metadata.section = "new".into();
                    if name == "b" {
                        version.metadata.embargo_time = Some(Timestamp::MAX);
                        version.visibility = Visibility::Embargoed;
                    }
                },
            ))
            .await
            .unwrap();
    }
    for _ in 0..2 {
        let state = bench.article(&id("c")).await.unwrap();
        let key = key("fr", JobKind::Mt);
        let last = state.jobs.get(&key).map(|last| last.canceled(false));
        let next = Job::open(&id("c"), key, last.as_ref(), 1, order());
        let jobs = last.map(|last| (last, JobStep::Canceled));
        let jobs = jobs.into_iter().chain([(next, JobStep::Opened)]).collect();
        let mut batch = put_jobs(&state, jobs);
        batch.expect.truncate(1);
        bench.store.commit(batch).await.unwrap();
    }
    put_policy(&*bench.store, &policy("news", &["fr"])).await;
    assert_eq!(bench.store.check().await.unwrap(), []);
    bench
}

/// Which record to break.
#[derive(Debug, Clone, Copy)]
enum Target {
    /// The n-th of a prefix.
    Nth(u8, usize),
    /// The one whose key is this prefix and text.
    Named(&'static str),
}

fn record(bench: &Bench, target: Target) -> (Vec<u8>, Vec<u8>) {
    match target {
        Target::Nth(prefix, at) => bench.records(prefix).swap_remove(at),
        Target::Named(key) => {
            let record = bench.engine().get(key.as_bytes()).unwrap().unwrap();
            (key.as_bytes().to_vec(), record)
        }
    }
}

fn removed(bench: &Bench, target: Target) -> Vec<Write> {
    vec![Write::Remove(record(bench, target).0)]
}

fn flipped(bench: &Bench, target: Target) -> Vec<Write> {
    let (key, mut record) = record(bench, target);
    *record.last_mut().unwrap() ^= 0x10;
    vec![Write::Put(key, record)]
}

/// The record, also under another key.
fn copied(bench: &Bench, target: Target, change: fn(&mut Vec<u8>)) -> Vec<Write> {
    let (mut key, record) = record(bench, target);
    change(&mut key);
    vec![Write::Put(key, record)]
}

/// The record of another key under this one: whole, and not what belongs there.
fn exchanged(bench: &Bench, target: Target, other: Target) -> Vec<Write> {
    vec![Write::Put(record(bench, target).0, record(bench, other).1)]
}

/// The job of `c`.
const JOB: &str = "jc\0fr\0\x01";

type Break = fn(&Bench, Target) -> Vec<Write>;

const CASES: &[(Break, Target, &str, &str)] = &[
    (
        removed,
        Target::Named("ha"),
        "index row Published \"a\"",
        "there is no such article",
    ),
    (flipped, Target::Named("ha"), "head a", "checksum"),
    (
        removed,
        Target::Named("hb"),
        "head b",
        "missing, and commit 2 changed it",
    ),
    (
        removed,
        Target::Named("sa\0fr"),
        "slot a fr",
        "missing, and commit 4 changed it",
    ),
    (flipped, Target::Named("sa\0fr"), "slot a fr", "checksum"),
    // Rows are in the order of axes and dates; all are undated on the first.
    (
        removed,
        Target::Nth(b'i', 0),
        "index row Published \"a\"",
        "missing",
    ),
    (
        flipped,
        Target::Nth(b'i', 1),
        "index row Published \"b\"",
        "checksum",
    ),
    (
        removed,
        Target::Nth(b'i', 8),
        "index row Ingested \"c\"",
        "missing",
    ),
    (
        |bench, target| copied(bench, target, |key| key.push(b'x')),
        Target::Nth(b'i', 0),
        "index row Published \"ax\"",
        "there is no such article",
    ),
    (removed, Target::Nth(b'a', 0), "alias ", "missing"),
    (flipped, Target::Nth(b'a', 0), "alias ", "checksum"),
    (
        |bench, target| copied(bench, target, |key| key[1] ^= 1),
        Target::Nth(b'a', 0),
        "alias ",
        "does not agree with its article",
    ),
    // The versions of commit 1 are the first metadata and the first revision of `a`.
    (flipped, Target::Nth(b'v', 1), "version a revision 1", "checksum"),
    (removed, Target::Nth(b'v', 1), "version a revision 1", "missing"),
    (removed, Target::Nth(b'v', 2), "version b metadata 1", "missing"),
    (
        |bench, target| exchanged(bench, target, Target::Nth(b'v', 0)),
        Target::Nth(b'v', 1),
        "version a revision 1",
        "another place",
    ),
    (
        |bench, target| copied(bench, target, |key| key[8] ^= 64),
        Target::Nth(b'v', 0),
        "version a metadata 1",
        "does not agree with its article",
    ),
    (
        removed,
        Target::Nth(b'o', 0),
        "head a",
        "its metadata before 2 are missing",
    ),
    (
        flipped,
        Target::Nth(b'o', 0),
        "place 1 of version a metadata 1",
        "checksum",
    ),
    (
        |bench, target| copied(bench, target, |key| *key.last_mut().unwrap() ^= 64),
        Target::Nth(b'o', 0),
        "place 65 of version a metadata 1",
        "does not agree with its article",
    ),
    (removed, Target::Nth(b'e', 0), "embargo timer \"b\"", "missing"),
    (
        |bench, target| copied(bench, target, |key| key[8] ^= 1),
        Target::Nth(b'e', 0),
        "embargo timer \"b\"",
        "does not agree with its article",
    ),
    (flipped, Target::Nth(b'e', 0), "embargo timer \"b\"", "checksum"),
    (flipped, Target::Nth(b'r', 0), "request ", "checksum"),
    (removed, Target::Nth(b'y', 0), "expiry of request ", "missing"),
    (
        removed,
        Target::Nth(b'y', 1),
        "expiry of replaced job c fr mt 1",
        "missing",
    ),
    (flipped, Target::Nth(b'y', 0), "expiry of request ", "checksum"),
    (flipped, Target::Nth(b'd', 0), "delta a 2", "checksum"),
    (removed, Target::Nth(b'd', 0), "delta a 2", "missing"),
    (
        |bench, target| copied(bench, target, |key| *key.last_mut().unwrap() += 1),
        Target::Nth(b'd', 0),
        "delta a 3",
        "another place",
    ),
    (flipped, Target::Nth(b'f', 0), "departure a 2", "does not agree"),
    (removed, Target::Nth(b'f', 1), "departure a 2", "missing"),
    (
        |bench, target| copied(bench, target, |key| *key.last_mut().unwrap() -= 1),
        Target::Nth(b'f', 0),
        "departure a 3",
        "does not agree with its delta",
    ),
    (
        removed,
        Target::Nth(b'l', 3),
        "log group 5",
        "commits 4 to 4 are missing",
    ),
    (
        removed,
        Target::Nth(b'l', 0),
        "log group 2",
        "commits 1 to 1 are missing",
    ),
    (removed, Target::Nth(b'l', 9), "the change log", "ends at 9"),
    (flipped, Target::Nth(b'l', 2), "log group 3", "checksum"),
    (
        |bench, target| copied(bench, target, |key| key[1] = b'z'),
        Target::Named("sa\0fr"),
        "slot z fr",
        "there is no such article",
    ),
    (
        |bench, target| copied(bench, target, |key| key[1] = b'z'),
        Target::Named("ha"),
        "head z",
        "another place",
    ),
    (removed, Target::Nth(b't', 0), "standing fr a", "missing"),
    (flipped, Target::Nth(b't', 0), "standing fr a", "checksum"),
    (
        |bench, target| exchanged(bench, target, Target::Nth(b'w', 0)),
        Target::Nth(b't', 0),
        "standing fr a",
        "does not agree with its article",
    ),
    (
        |bench, target| copied(bench, target, |key| key[4] = b'b'),
        Target::Nth(b't', 0),
        "standing fr b",
        "does not agree with its article",
    ),
    (removed, Target::Nth(b'w', 0), "work fr a", "missing"),
    (removed, Target::Nth(b'w', 3), "work fr a", "missing"),
    (flipped, Target::Nth(b'w', 1), "work fr a", "checksum"),
    (
        |bench, target| exchanged(bench, target, Target::Nth(b't', 0)),
        Target::Nth(b'w', 2),
        "work fr a",
        "does not agree with its article",
    ),
    (
        |bench, target| copied(bench, target, |key| key.push(b'x')),
        Target::Nth(b'w', 0),
        "work fr ax",
        "there is no such article",
    ),
    // It is current in no language.
    (
        |bench, target| copied(bench, target, |key| key[1] = b'g'),
        Target::Nth(b'w', 0),
        "work gr a",
        "does not agree with its article",
    ),
    (removed, Target::Named("car"), "counts ar", "it says None"),
    (flipped, Target::Named("car"), "counts ar", "checksum"),
    (
        |bench, target| exchanged(bench, target, Target::Named("cfr")),
        Target::Named("car"),
        "counts ar",
        "it says Some(Counts { articles: 0",
    ),
    (
        |bench, target| copied(bench, target, |key| key[2] = b'b'),
        Target::Named("car"),
        "counts ab",
        "and there are None",
    ),
    (
        removed,
        Target::Named(JOB),
        "job c fr mt",
        "its number 1 is missing, and commit 8 changed it",
    ),
    (
        removed,
        Target::Named(JOB),
        "queued job c fr mt",
        "does not agree",
    ),
    (
        removed,
        Target::Named(JOB),
        "replaced job c fr mt 1",
        "no newer job",
    ),
    (flipped, Target::Named(JOB), "job c fr mt", "checksum"),
    (
        |bench, target| copied(bench, target, |key| key[1] = b'z'),
        Target::Named(JOB),
        "job z fr mt",
        "there is no such article",
    ),
    (
        |bench, target| copied(bench, target, |key| key[1] = b'z'),
        Target::Named(JOB),
        "job z fr mt",
        "there is no such article",
    ),
    // The job before it in its place: it has ended, and yet its queue has it.
    (
        |bench, target| exchanged(bench, target, Target::Nth(b'k', 0)),
        Target::Named(JOB),
        "queued job c fr mt",
        "does not agree with its article",
    ),
    (
        |bench, target| exchanged(bench, target, Target::Nth(b'k', 0)),
        Target::Named(JOB),
        "job c fr mt",
        "its number 2 is missing, and commit 9 changed it",
    ),
    (
        flipped,
        Target::Nth(b'k', 0),
        "replaced job c fr mt 1",
        "checksum",
    ),
    (
        |bench, target| copied(bench, target, |key| key[10] = 7),
        Target::Nth(b'k', 0),
        "replaced job c fr mt 7",
        "another place",
    ),
    (
        |bench, target| exchanged(bench, target, Target::Named(JOB)),
        Target::Nth(b'k', 0),
        "replaced job c fr mt 1",
        "it has not ended",
    ),
    (removed, Target::Nth(b'q', 0), "queued job c fr mt", "missing"),
    (flipped, Target::Nth(b'q', 0), "queued job c fr mt", "checksum"),
    (
        |bench, target| copied(bench, target, |key| key.push(b'x')),
        Target::Nth(b'q', 0),
        "queued job cx fr mt",
        "there is no such article",
    ),
    (
        |bench, target| copied(bench, target, |key| key[1] = 1),
        Target::Nth(b'q', 0),
        "queued job c fr mt",
        "does not agree with its article",
    ),
    (
        |bench, target| copied(bench, target, |key| key[1] = 7),
        Target::Nth(b'q', 0),
        "queued job ",
        "its key cannot be read",
    ),
    (flipped, Target::Named("nnews"), "policy news", "checksum"),
    (
        |bench, target| copied(bench, target, |key| key.push(b'x')),
        Target::Named("nnews"),
        "policy newsx",
        "another place",
    ),
];

fn the_check_names_what_is_broken(kind: Kind) {
    within_limit(async {
        for (number, (damage, target, record, problem)) in CASES.iter().enumerate() {
            let bench = filled(kind).await;
            bench.engine().apply(damage(&bench, *target)).unwrap();
            let findings = bench.store.check().await.unwrap();
            let names =
                |finding: &&Finding| finding.record.starts_with(record) && finding.problem.contains(problem);
            assert!(
                findings.iter().any(|f| names(&f)),
                "case {number} {target:?}: {findings:?}"
            );
            bench.store.close().await.unwrap();
        }
    });
}

#[test]
fn the_check_names_what_is_broken_in_memory() {
    the_check_names_what_is_broken(Kind::Memory);
}

#[test]
fn the_check_names_what_is_broken_on_sled() {
    the_check_names_what_is_broken(Kind::Sled);
}

fn corrupt(record: &str) -> StoreError {
    StoreError::Corrupt {
        record: record.into(),
        detail: "its checksum does not match".into(),
    }
}

#[test]
fn a_read_of_a_damaged_record_names_it_and_others_go_on() {
    within_limit(async {
        let mut bench = filled(Kind::Sled).await;
        for target in [
            Target::Nth(b'v', 1),
            Target::Named("hb"),
            Target::Nth(b'r', 0),
            Target::Nth(b'i', 11),
        ] {
            bench.engine().apply(flipped(&bench, target)).unwrap();
        }
        bench.reopen_with_cache(0).await;
        let store = &bench.store;
        let first_revision = VersionKey {
            article: id("a"),
            series: Series::Content,
            number: 1,
        };
        assert_eq!(
            store.versions(&[first_revision]).await,
            Err(corrupt("version a revision 1"))
        );
        assert_eq!(store.articles(&[id("b")]).await, Err(corrupt("head b")));
        let request = store.request(&request_key(1)).await.unwrap_err();
        assert!(request.to_string().contains("record request "), "{request}");
        let revised = |range| Query {
            axis: Axis::Revised,
            range,
            order: Order::OldestFirst,
            language: None,
            section: None,
            publisher: None,
            shown: shown(true),
            translation: None,
        };
        let budget = Budget {
            articles: 10,
            rows: 100,
            bytes: usize::MAX,
        };
        let list = store.list(&revised(Range::All), None, budget).await;
        assert!(matches!(list, Err(StoreError::Corrupt { .. })), "{list:?}");
        // What is not damaged can be read and written.
        assert!(bench.article(&id("a")).await.is_some());
        let state = bench.article(&id("c")).await.unwrap();
        store
            .commit(edit(&state, |m| m.section = "newer".into()))
            .await
            .unwrap();
        store.close().await.unwrap();
    });
}

/// What a start needs and cannot read is named, with where it is and what to do.
#[test]
fn a_store_that_cannot_start_says_which_record_is_damaged_and_where() {
    within_limit(async {
        for (prefix, name) in [(b'm', "store record "), (b'l', "log group ")] {
            let bench = filled(Kind::Sled).await;
            let last = bench.records(prefix).len() - 1;
            bench
                .engine()
                .apply(flipped(&bench, Target::Nth(prefix, last)))
                .unwrap();
            bench.store.close().await.unwrap();
            let directory = bench.directory.path();
            let engine = SledEngine::open(sled_config(directory)).unwrap();
            let refused = KvStore::open(engine, Arc::new(bench.clock.clone()), 0).map(drop);
            let Err(StoreError::Open(OpenError::Damaged { .. })) = &refused else {
                panic!("{refused:?}")
            };
            let said = refused.unwrap_err().to_string();
            for part in [name, &directory.display().to_string(), "restore a backup"] {
                assert!(said.contains(part), "{said}");
            }
        }
    });
}

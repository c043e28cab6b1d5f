//! Old revisions lose their content and nothing else: histories, the check and backups go on, and what translations were
//! made from stays.

use std::num::NonZeroU32;
use std::sync::Arc;

use article_store::clock::TrustedClock;
use article_store::domain::change::JobStep;
use article_store::domain::job::{ClaimQuery, JobKind};
use article_store::domain::retention::Retention;
use article_store::domain::selection::Decided;
use article_store::domain::time::{Stamp, Timestamp};
use article_store::domain::version::Series;
use article_store::store::kv::KvStore;
use article_store::store::kv::sled::SledEngine;
use article_store::store::{Batch, Body, Entity, Expect, Result, Store, Sweep};
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::backup::{back_up_to, restore};
use super::bench::{Bench, at, sled_config};
use super::claims::claim;
use super::fixtures::*;

on_every_store! {
    what_a_translation_was_made_from_stays,
    what_an_open_job_is_done_from_stays,
    what_was_the_newest_lately_stays,
}

on_every_engine! {
    a_sweep_waits_for_a_dump,
    the_content_of_old_revisions_goes_and_nothing_else,
    a_sweep_is_bounded_and_goes_on_where_it_stopped,
    a_damaged_article_does_not_hold_up_the_others,
    a_backup_has_what_is_left,
}

fn keep(newest: u32) -> Retention {
    Retention {
        newest: NonZeroU32::new(newest).unwrap(),
        superseded_before: Timestamp::MAX,
    }
}

/// Sweeps to the end, and answers how many steps that took.
async fn sweep(store: &dyn Store, retention: Retention) -> usize {
    for steps in 1.. {
        if store.drop_revisions(retention).await.unwrap() == Sweep::Done {
            return steps;
        }
    }
    unreachable!()
}

async fn revise_to(bench: &Bench, name: &str, revisions: u32) {
    let article = id(name);
    if bench.article(&article).await.is_none() {
        bench.store.commit(simple(&article)).await.unwrap();
    }
    loop {
        let state = bench.article(&article).await.unwrap();
        let next = state.head.revision() + 1;
        if next > revisions {
            return;
        }
        let text = format!("{name} {next}");
        let revised = revise(&state, content(&text, &[&text]));
        bench.store.commit(revised).await.unwrap();
    }
}

/// The revisions of an article that have their content; all of them must be found.
async fn with_content(bench: &Bench, name: &str) -> Vec<u32> {
    let article = id(name);
    let state = bench.article(&article).await.unwrap();
    let mut kept = Vec::new();
    for number in 1..=state.head.revision() {
        let key = state.head.revision_key(number);
        let body = bench.store.versions(&[key]).await.unwrap();
        match &*body[0] {
            Body::Revision(_) => kept.push(number),
            Body::Dropped(_) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(body[0].version().number, number);
    }
    kept
}

/// A worker that takes its time must find the text that it was given.
async fn what_an_open_job_is_done_from_stays(bench: &mut Bench) {
    revise_to(bench, "a", 3).await;
    let state = bench.article(&id("a")).await.unwrap();
    let job = opened(&state, &key("fr", JobKind::Mt), order());
    let open = put_jobs(&state, vec![(job, JobStep::Opened)]);
    bench.store.commit(open).await.unwrap();
    let claimed = bench.store.claim(claim(&ClaimQuery::default(), 1, 3_600)).await;
    let leased = claimed.unwrap().jobs.remove(0);
    revise_to(bench, "a", 9).await;
    sweep(&*bench.store, keep(2)).await;
    assert_eq!(with_content(bench, "a").await, [3, 8, 9]);
    let state = bench.article(&id("a")).await.unwrap();
    let end = put_jobs(&state, vec![(leased.canceled(false), JobStep::Canceled)]);
    bench.store.commit(end).await.unwrap();
    sweep(&*bench.store, keep(2)).await;
    assert_eq!(with_content(bench, "a").await, [8, 9]);
}

async fn the_content_of_old_revisions_goes_and_nothing_else(bench: &mut Bench) {
    revise_to(bench, "a", 40).await;
    revise_to(bench, "b", 3).await;
    revise_to(bench, "c", 1).await;
    let state = bench.article(&id("a")).await.unwrap();
    for number in 0..4 {
        let edited = edit(&bench.article(&id("a")).await.unwrap(), |m| {
            m.section = format!("{number}");
        });
        bench.store.commit(edited).await.unwrap();
    }
    // All of it is in the cache.
    assert_eq!(with_content(bench, "a").await.len(), 40);
    let others = |bench: &Bench| {
        let prefixes = b"achilprstw";
        let of = |prefix: &u8| bench.records(*prefix);
        prefixes.iter().map(of).collect::<Vec<_>>()
    };
    let (before, bodies) = (others(bench), bench.records(b'v'));
    let live = bench.store.status().await.unwrap().sizes.unwrap().live_bytes;

    sweep(&*bench.store, keep(50)).await;
    assert!(bench.records(b'v') == bodies, "there is nothing to drop");
    sweep(&*bench.store, keep(3)).await;
    for _ in 0..2 {
        assert_eq!(with_content(bench, "a").await, [38, 39, 40]);
        assert_eq!(with_content(bench, "b").await, [1, 2, 3]);
        assert_eq!(with_content(bench, "c").await, [1]);
        assert!(others(bench) == before, "only bodies change");
        let now = bench.records(b'v');
        assert!(
            now.iter()
                .map(|(key, _)| key)
                .eq(bodies.iter().map(|(key, _)| key))
        );
        assert_eq!(
            now.iter().zip(&bodies).filter(|(now, then)| now != then).count(),
            37
        );
        assert_eq!(bench.store.check().await.unwrap(), []);
        bench.reopen().await;
    }
    assert!(bench.store.status().await.unwrap().sizes.unwrap().live_bytes < live);
    // It goes on as if nothing had been.
    revise_to(bench, "a", 45).await;
    sweep(&*bench.store, keep(1)).await;
    assert_eq!(with_content(bench, "a").await, [45]);
    assert_eq!(with_content(bench, "b").await, [3]);
    assert_eq!(state.head.revision(), 40);
}

async fn what_a_translation_was_made_from_stays(bench: &mut Bench) {
    revise_to(bench, "a", 2).await;
    for (tag, then) in [("fr", 5), ("de", 9)] {
        let state = bench.article(&id("a")).await.unwrap();
        let made = attach(&*bench.store, &state, &language(tag), &texts("x", 1)).await;
        bench.store.commit(made.unwrap()).await.unwrap();
        revise_to(bench, "a", then).await;
    }
    sweep(&*bench.store, keep(1)).await;
    assert_eq!(with_content(bench, "a").await, [2, 5, 9]);

    let state = bench.article(&id("a")).await.unwrap();
    let slot = &state.slots[&language("fr")];
    let decided = Decided::default();
    let detached = slot.detach(slot.translations[0].id, decided).unwrap();
    let (detached, selection) = detached.unwrap();
    let withdraw = Batch {
        expect: vec![Expect::Slot(language("fr"), Some(slot.version))],
        slots: vec![Arc::new(detached)],
        bodies: vec![(Series::Selection(language("fr")), Body::Selection(selection))],
        ..Batch::new(id("a"))
    };
    bench.store.commit(withdraw).await.unwrap();
    sweep(&*bench.store, keep(1)).await;
    assert_eq!(with_content(bench, "a").await, [5, 9]);
}

async fn what_was_the_newest_lately_stays(bench: &mut Bench) {
    for (time, revisions) in [
        ("2022-05-10T10:00:00Z", 2),
        ("2022-05-11T10:00:00Z", 3),
        ("2022-05-12T10:00:00Z", 5),
    ] {
        bench.clock.set(at(time));
        revise_to(bench, "a", revisions).await;
    }
    for (superseded_before, kept) in [
        ("2022-05-10T10:00:00Z", &[1, 2, 3, 4, 5][..]),
        // The first was followed by the second at once, the second by the third a day later.
        ("2022-05-11T09:00:00Z", &[2, 3, 4, 5]),
        ("2022-05-11T10:00:00Z", &[2, 3, 4, 5]),
        ("2022-05-11T11:00:00Z", &[3, 4, 5]),
        ("2022-05-13T00:00:00Z", &[5]),
    ] {
        let retention = Retention {
            superseded_before: at(superseded_before),
            ..keep(1)
        };
        sweep(&*bench.store, retention).await;
        assert_eq!(with_content(bench, "a").await, kept, "{superseded_before}");
    }
}

async fn a_sweep_is_bounded_and_goes_on_where_it_stopped(bench: &mut Bench) {
    revise_to(bench, "m", 1_000).await;
    join_all((0..1_200).map(|number| {
        let article = id(&format!("s{number}"));
        let store = &bench.store;
        async move { store.commit(simple(&article)).await.unwrap() }
    }))
    .await;
    revise_to(bench, "z", 3).await;
    let changed = |before: &[(Vec<u8>, Vec<u8>)], after: &[(Vec<u8>, Vec<u8>)]| {
        before.iter().zip(after).filter(|(a, b)| a != b).count()
    };
    let mut before = bench.records(b'v');
    let (mut steps, mut dropped) = (0, 0);
    loop {
        let swept = bench.store.drop_revisions(keep(2)).await.unwrap();
        let after = bench.records(b'v');
        let now = changed(&before, &after);
        assert!(now <= 300, "{now} at once");
        dropped += now;
        before = after;
        steps += 1;
        if swept == Sweep::Done {
            break;
        }
        bench.reopen().await;
    }
    assert_eq!(dropped, 998 + 1);
    assert!(steps >= 5, "{steps}");
    assert_eq!(with_content(bench, "m").await, [999, 1000]);
    assert_eq!(with_content(bench, "z").await, [2, 3]);
    assert_eq!(bench.records(b'm').len(), 1, "no cursor is left");
}

async fn a_damaged_article_does_not_hold_up_the_others(bench: &mut Bench) {
    use article_store::store::kv::engine::{Engine, Write};
    for name in ["a", "b", "c"] {
        revise_to(bench, name, 4).await;
    }
    let sound = bench.engine().get(b"ha").unwrap().unwrap();
    // The second revision of `b`.
    let name = b"b\0\x01\0\0\0\x02";
    let mut bodies = bench.records(b'v').into_iter();
    let (lost, body) = bodies.find(|(key, _)| key[9..] == *name).unwrap();
    bench.reopen().await;
    let broken = vec![
        Write::Put(b"ha".to_vec(), b"rot".to_vec()),
        Write::Remove(lost.clone()),
    ];
    bench.engine().apply(broken).unwrap();
    sweep(&*bench.store, keep(1)).await;
    assert_eq!(with_content(bench, "c").await, [4]);
    let mended = vec![Write::Put(b"ha".to_vec(), sound), Write::Put(lost, body)];
    bench.engine().apply(mended).unwrap();
    sweep(&*bench.store, keep(1)).await;
    assert_eq!(with_content(bench, "a").await, [4]);
    assert_eq!(with_content(bench, "b").await, [4]);
}

/// An export that has begun, and stands still until its chunks are taken.
pub(super) struct Stalled {
    export: JoinHandle<Result<Stamp>>,
    chunks: mpsc::Receiver<Vec<Entity>>,
}

impl Stalled {
    pub(super) async fn begin(bench: &Bench) -> Self {
        'again: loop {
            let (to, chunks) = mpsc::channel(1);
            // There is no room for what it hands out.
            to.try_send(Vec::new()).unwrap();
            let store = bench.store.clone();
            let export = tokio::spawn(async move { store.export(to).await });
            loop {
                let (to, _) = mpsc::channel(1);
                let refused = bench.store.export(to).await.unwrap_err();
                if export.is_finished() {
                    // The other one was first.
                    continue 'again;
                }
                if refused.to_string().contains("another backup") {
                    return Self { export, chunks };
                }
            }
        }
    }

    pub(super) async fn end(mut self) {
        while self.chunks.recv().await.is_some() {}
        self.export.await.unwrap().unwrap();
    }
}

async fn a_sweep_waits_for_a_dump(bench: &mut Bench) {
    revise_to(bench, "a", 5).await;
    let export = Stalled::begin(bench).await;
    assert_eq!(bench.store.drop_revisions(keep(1)).await, Ok(Sweep::Postponed));
    assert_eq!(with_content(bench, "a").await.len(), 5);
    export.end().await;
    sweep(&*bench.store, keep(1)).await;
    assert_eq!(with_content(bench, "a").await, [5]);
}

async fn a_backup_has_what_is_left(bench: &mut Bench) {
    revise_to(bench, "a", 9).await;
    sweep(&*bench.store, keep(2)).await;
    let (file, target) = (
        bench.directory.path().join("backup"),
        tempfile::tempdir().unwrap(),
    );
    back_up_to(&*bench.store, &file).await;
    let config = sled_config(target.path());
    restore(&file, &config, false).await.unwrap();
    let restored = KvStore::open(SledEngine::open(config).unwrap(), Arc::new(TrustedClock), 1 << 20).unwrap();
    for number in 1..=9 {
        let key = [bench.article(&id("a")).await.unwrap().head.revision_key(number)];
        assert_eq!(
            restored.versions(&key).await.unwrap(),
            bench.store.versions(&key).await.unwrap()
        );
    }
    restored.close().await.unwrap();
}

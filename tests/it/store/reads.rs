//! Promises 4 to 6: what is read was acknowledged or is about to be, is of one moment, and stays good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use article_store::domain::article::ArticleId;
use article_store::domain::version::{Series, VersionKey};
use article_store::store::{ArticleState, Batch, Body, Expect, Store, StoreError};
use futures::future::join_all;

use super::bench::{Bench, article};
use super::fixtures::*;

on_every_store! {
    a_read_shows_every_acknowledged_write,
    an_article_is_never_torn,
    an_article_is_never_torn_without_a_cache,
    bodies_never_change,
    a_missing_body_is_named,
    a_scan_goes_through_all_articles_in_order,
    answers_keep_the_order_of_the_questions,
    a_large_article_comes_back,
}

async fn a_read_shows_every_acknowledged_write(bench: &mut Bench) {
    let tasks = (0..8).map(|task| {
        let store = bench.store.clone();
        tokio::spawn(async move {
            let article_id = id(&format!("a{task}"));
            let address = format!("https://e.test/{task}");
            let new = create(&article_id, metadata_at(&address), content("0", &["p"]));
            let stamp = store.commit(with_request(new, task)).await.unwrap().stamp;
            assert!(store.durable().borrow().seq >= stamp.seq);
            assert_eq!(
                store.lookup(&[url(&address)]).await.unwrap(),
                [Some(article_id.clone())]
            );
            assert!(store.request(&request_key(task)).await.unwrap().is_some());
            for number in 1..30 {
                let state = article(&*store, &article_id).await.unwrap();
                let replaced = departures(&*store, &state).await.contents.len();
                assert_eq!(replaced + 1, number);
                let new = revise(&state, content(&number.to_string(), &["p"]));
                let stamp = store.commit(new).await.unwrap().stamp;
                let state = article(&*store, &article_id).await.unwrap();
                assert_eq!(state.head.title.content.text(), number.to_string());
                assert_eq!(state.seq(), stamp.seq);
                let body = store.versions(&[newest_revision(&state)]).await.unwrap();
                assert!(matches!(&*body[0], Body::Revision(r) if r.content.title == state.head.title));
            }
        })
    });
    join_all(tasks).await.into_iter().for_each(|task| task.unwrap());
}

/// A batch that moves the head and two slots together.
async fn step(store: &dyn Store, state: &ArticleState, number: u32) -> Batch {
    let mut batch = edit(state, |metadata| metadata.section = number.to_string());
    for tag in ["de", "fr"] {
        let attached = attach(store, state, &language(tag), &texts(&number.to_string(), 2))
            .await
            .unwrap();
        batch.bodies.extend(attached.bodies);
        batch.slots.extend(attached.slots);
    }
    batch.expect.push(Expect::Slots(versions(state)));
    batch
}

fn versions(state: &ArticleState) -> Vec<(article_store::domain::language::Language, u32)> {
    let slots = state.slots.iter();
    slots
        .map(|(language, slot)| (language.clone(), slot.version))
        .collect()
}

/// Head and slots moved together, so their versions tell whether they are of one moment.
fn assert_whole(state: &ArticleState) {
    let version = state.head.version();
    let slots: Vec<_> = state.slots.values().map(|slot| slot.version + 1).collect();
    assert!(
        slots == [version, version] || version == 1 && slots.is_empty(),
        "head {version} stands with slots {slots:?}"
    );
}

async fn an_article_is_never_torn(bench: &mut Bench) {
    tear(bench).await;
}

async fn an_article_is_never_torn_without_a_cache(bench: &mut Bench) {
    bench.reopen_with_cache(0).await;
    tear(bench).await;
}

async fn tear(bench: &Bench) {
    let ids: Vec<ArticleId> = (0..3).map(|number| id(&format!("a{number}"))).collect();
    for id in &ids {
        bench.store.commit(simple(id)).await.unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let readers = (0..4).map(|_| {
        let (store, ids, done) = (bench.store.clone(), ids.clone(), done.clone());
        tokio::spawn(async move {
            let mut seen = vec![0; ids.len()];
            while !done.load(Ordering::Acquire) {
                let found = store.articles(&ids).await.unwrap();
                let scanned = store.scan(None, 10).await.unwrap();
                for (last, state) in seen.iter_mut().zip(found.into_iter().flatten()) {
                    assert_whole(&state);
                    assert!(*last <= state.head.version(), "the article went back");
                    *last = state.head.version();
                }
                scanned.iter().for_each(|state| assert_whole(state));
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let writers = ids.iter().map(|id| async {
        for number in 0..60 {
            let state = bench.article(id).await.unwrap();
            let batch = step(&*bench.store, &state, number).await;
            bench.store.commit(batch).await.unwrap();
        }
    });
    join_all(writers).await;
    done.store(true, Ordering::Release);
    join_all(readers)
        .await
        .into_iter()
        .for_each(|reader| reader.unwrap());
}

async fn bodies_never_change(bench: &mut Bench) {
    bench.store.commit(simple(&id("a"))).await.unwrap();
    let mut kept = Vec::new();
    for number in 0..5 {
        let state = bench.article(&id("a")).await.unwrap();
        let keys = [state.head.version_key(), newest_revision(&state)];
        let versions = bench.store.versions(&keys).await.unwrap();
        kept.push((keys, versions));
        let new = revise(&state, content(&number.to_string(), &["p"]));
        bench.store.commit(new).await.unwrap();
    }
    for cache in [8 << 20, 0] {
        bench.reopen_with_cache(cache).await;
        for (keys, versions) in &kept {
            assert_eq!(bench.store.versions(keys).await.unwrap(), *versions);
        }
    }
}

async fn a_missing_body_is_named(bench: &mut Bench) {
    let missing = VersionKey {
        article: id("a"),
        series: Series::Content,
        number: 9,
    };
    let missing = bench.store.versions(&[missing]).await;
    let Err(StoreError::Corrupt { record, detail }) = missing else {
        panic!("{missing:?}");
    };
    assert_eq!(
        (record.as_str(), detail.as_str()),
        ("version a revision 9", "it is missing")
    );
}

async fn a_scan_goes_through_all_articles_in_order(bench: &mut Bench) {
    // Ids that begin with each other and sort around the separators of keys.
    let ids = ["a", "a-", "a.b", "a1", "a10", "a2", "aa", "A", "Z", "~", "-"].map(id);
    join_all(ids.iter().map(|id| bench.store.commit(simple(id)))).await;
    let state = bench.article(&id("a")).await.unwrap();
    let slot = attach(&*bench.store, &state, &language("fr"), &texts("x", 2)).await;
    bench.store.commit(slot.unwrap()).await.unwrap();
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    for limit in [1, 3, 11, 50] {
        let mut found: Vec<ArticleId> = Vec::new();
        loop {
            let part = bench.store.scan(found.last(), limit).await.unwrap();
            assert!(part.len() <= limit);
            if part.is_empty() {
                break;
            }
            found.extend(part.iter().map(|state| state.head.id.clone()));
        }
        assert_eq!(found, sorted);
    }
    let with_slots = bench.store.scan(None, 50).await.unwrap();
    let slots: Vec<_> = with_slots
        .iter()
        .filter(|state| !state.slots.is_empty())
        .collect();
    assert_eq!(
        slots.len(),
        1,
        "the slot belongs to \"a\" and to no article that begins so"
    );
    assert_eq!(slots[0].head.id, id("a"));
}

async fn answers_keep_the_order_of_the_questions(bench: &mut Bench) {
    for name in ["b", "a"] {
        let new = create(
            &id(name),
            metadata_at(&format!("https://e.test/{name}")),
            content(name, &["p"]),
        );
        bench.store.commit(new).await.unwrap();
    }
    let found = bench
        .store
        .articles(&[id("b"), id("x"), id("a"), id("b")])
        .await
        .unwrap();
    let names: Vec<_> = found
        .iter()
        .map(|state| state.as_ref().map(|state| state.head.id.to_string()))
        .collect();
    assert_eq!(
        names,
        [Some("b".into()), None, Some("a".into()), Some("b".into())]
    );
    let aliases = ["x", "a", "b"].map(|name| url(&format!("https://e.test/{name}")));
    let holders = bench.store.lookup(&aliases).await.unwrap();
    assert_eq!(holders, [None, Some(id("a")), Some(id("b"))]);
    assert_eq!(bench.store.articles(&[]).await.unwrap(), []);
}

async fn a_large_article_comes_back(bench: &mut Bench) {
    // Texts that do not compress, more than the cache holds.
    let paragraphs: Vec<String> = (0..3000u64)
        .map(|number| {
            let mut state = number + 1;
            let mut letter = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                char::from(b'a' + (state >> 33) as u8 % 26)
            };
            (0..700).map(|_| letter()).collect()
        })
        .collect();
    let paragraphs: Vec<&str> = paragraphs.iter().map(String::as_str).collect();
    let text = content("large", &paragraphs);
    bench.reopen_with_cache(1 << 20).await;
    bench
        .store
        .commit(create(&id("a"), metadata(), text.clone()))
        .await
        .unwrap();
    for _ in 0..2 {
        let state = bench.article(&id("a")).await.unwrap();
        assert_eq!(state.head.manifest, text.manifest());
        let body = bench.store.versions(&[newest_revision(&state)]).await.unwrap();
        assert!(matches!(&*body[0], Body::Revision(revision) if revision.content == text));
        bench.reopen_with_cache(1 << 20).await;
    }
}

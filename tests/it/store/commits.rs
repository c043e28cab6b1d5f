//! Promises 1 to 3: a batch is applied as a whole, numbered, and only if its preconditions hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use article_store::domain::time::Stamp;
use article_store::domain::version::VersionKey;
use article_store::store::{Batch, Conflict, Expect, StoreError};
use futures::future::join_all;

use super::bench::{Bench, at};
use super::fixtures::*;

on_every_store! {
    a_batch_is_applied_as_a_whole,
    a_refused_batch_leaves_nothing,
    commits_are_numbered_in_order_whatever_the_clock_does,
    concurrent_commits_are_numbered_without_gaps,
    a_precondition_names_what_was_found,
    of_concurrent_creations_one_wins,
    of_concurrent_revisions_one_wins,
    of_concurrent_writes_to_a_slot_one_wins,
    of_concurrent_decisions_on_all_slots_one_wins,
    of_concurrent_claims_of_an_alias_one_wins,
    of_concurrent_calls_with_a_request_one_wins,
    an_article_keeps_its_aliases,
    a_refused_batch_does_not_harm_those_beside_it,
}

/// A batch with every kind of entity.
async fn full_batch(bench: &Bench) -> Batch {
    let article = id("full");
    let mut batch = with_request(
        create(
            &article,
            metadata_at("https://e.test/full"),
            content("t", &["a", "b"]),
        ),
        1,
    );
    // A slot of the same commit: made on a twin that is there already.
    let twin = id("twin");
    bench
        .store
        .commit(create(&twin, metadata(), content("t", &["a", "b"])))
        .await
        .unwrap();
    let twin = bench.article(&twin).await.unwrap();
    let attached = attach(&*bench.store, &twin, &language("fr"), &texts("un", 2))
        .await
        .unwrap();
    batch.bodies.extend(attached.bodies);
    batch.slots = attached.slots;
    Arc::make_mut(&mut batch.slots[0]).article = article;
    batch
}

async fn a_batch_is_applied_as_a_whole(bench: &mut Bench) {
    let batch = full_batch(bench).await;
    let committed = bench.store.commit(batch.clone()).await.unwrap();
    let stamp = committed.stamp;
    assert_eq!(committed.state, bench.article(&batch.article).await);
    let keys = batch.bodies.iter().map(|(series, body)| VersionKey {
        article: batch.article.clone(),
        series: series.clone(),
        number: body.version().number,
    });
    let keys: Vec<_> = keys.collect();
    assert_eq!(committed.bodies, bench.store.versions(&keys).await.unwrap());
    let check = async |bench: &Bench| {
        let state = bench.article(&batch.article).await.unwrap();
        assert_eq!(state.head.version(), 1);
        assert_eq!(state.head.current.stamp, stamp);
        assert_eq!(state.head.current.created, stamp);
        assert_eq!(state.slots[&language("fr")].stamp, stamp);
        assert_eq!(state.seq(), stamp.seq);
        let versions = bench.store.versions(&all_versions(&state)).await.unwrap();
        assert_eq!(versions.len(), 4);
        assert!(versions.iter().all(|version| version.version().stamp == stamp));
        let holder = bench.store.lookup(&[url("https://e.test/full")]).await.unwrap();
        assert_eq!(holder, [Some(batch.article.clone())]);
        let request = bench.store.request(&request_key(1)).await.unwrap().unwrap();
        assert_eq!(request.stamp, stamp);
        let changes = bench.store.changes(stamp.seq - 1, 10).await.unwrap();
        assert_eq!(changes.commits[0].events, batch.events);
        state
    };
    let warm = check(bench).await;
    bench.reopen().await;
    assert_eq!(check(bench).await, warm, "what was cached is not what was stored");
}

async fn a_refused_batch_leaves_nothing(bench: &mut Bench) {
    let mut batch = full_batch(bench).await;
    batch.expect.push(Expect::Slot(language("fr"), Some(3)));
    let refused = bench.store.commit(batch.clone()).await.unwrap_err();
    let conflict = Conflict::Slot(batch.article.clone(), "fr".into());
    assert_eq!(refused, StoreError::Conflict(conflict));
    assert_eq!(bench.article(&batch.article).await, None);
    assert_eq!(
        bench.store.lookup(&[url("https://e.test/full")]).await.unwrap(),
        [None]
    );
    assert_eq!(bench.store.request(&request_key(1)).await.unwrap(), None);
    assert_eq!(bench.store.status().await.unwrap().seq, 1);
    // Nothing of it stands in the way of the next one.
    batch.expect.pop();
    assert_eq!(bench.store.commit(batch).await.unwrap().stamp.seq, 2);
}

async fn commits_are_numbered_in_order_whatever_the_clock_does(bench: &mut Bench) {
    let times = [
        "2022-05-10T10:00:00Z",
        "2022-05-10T10:00:00Z",
        "2020-01-01T00:00:00Z",
        "2022-05-10T10:00:01Z",
    ];
    let mut stamps: Vec<Stamp> = Vec::new();
    for (number, time) in times.iter().enumerate() {
        bench.clock.set(at(time));
        if number == 3 {
            bench.reopen().await;
        }
        stamps.push(
            bench
                .store
                .commit(simple(&id(&format!("a{number}"))))
                .await
                .unwrap()
                .stamp,
        );
    }
    let micros: Vec<_> = stamps.iter().map(|stamp| stamp.time).collect();
    let first = at(times[0]);
    assert_eq!(
        micros,
        [
            first,
            first.saturating_add_micros(1),
            first.saturating_add_micros(2),
            at(times[3])
        ]
    );
    assert_eq!(
        stamps.iter().map(|stamp| stamp.seq).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
}

async fn concurrent_commits_are_numbered_without_gaps(bench: &mut Bench) {
    let ids: Vec<_> = (0..300).map(|number| id(&format!("a{number}"))).collect();
    let committed = join_all(ids.iter().map(|id| bench.store.commit(simple(id)))).await;
    let mut stamps: Vec<_> = committed.into_iter().map(|done| done.unwrap().stamp).collect();
    stamps.sort_unstable();
    assert!(stamps.iter().map(|stamp| stamp.seq).eq(1..=300));
    assert!(stamps.is_sorted_by(|a, b| a.time < b.time));
    let changes = bench.store.changes(0, 1000).await.unwrap();
    assert!(changes.commits.iter().map(|commit| commit.stamp).eq(stamps));
}

async fn a_precondition_names_what_was_found(bench: &mut Bench) {
    let article = id("a1");
    let unknown = Batch {
        expect: vec![Expect::Head(Some(1))],
        ..Batch::new(article.clone())
    };
    let changed = StoreError::Conflict(Conflict::Article(article.clone()));
    assert_eq!(bench.store.commit(unknown).await, Err(changed.clone()));
    bench
        .store
        .commit(create(
            &article,
            metadata_at("https://e.test/1"),
            content("t", &["p"]),
        ))
        .await
        .unwrap();
    let state = bench.article(&article).await.unwrap();
    for language_tag in ["fr", "de"] {
        let batch = attach(&*bench.store, &state, &language(language_tag), &texts("x", 1)).await;
        bench.store.commit(batch.unwrap()).await.unwrap();
    }
    let (fr, de) = (language("fr"), language("de"));
    let slot = |tag: &str| StoreError::Conflict(Conflict::Slot(article.clone(), tag.into()));
    let both = |de_version| vec![(fr.clone(), 1), (de.clone(), de_version)];
    let cases = [
        (Expect::Head(None), Some(changed.clone())),
        (Expect::Head(Some(2)), Some(changed.clone())),
        (Expect::Head(Some(1)), None),
        (Expect::Slot(fr.clone(), None), Some(slot("fr"))),
        (Expect::Slot(fr.clone(), Some(2)), Some(slot("fr"))),
        (Expect::Slot(fr.clone(), Some(1)), None),
        (Expect::Slot(language("en"), Some(1)), Some(slot("en"))),
        (Expect::Slot(language("en"), None), None),
        (Expect::Slots(both(1)), None),
        (Expect::Slots(both(2)), Some(changed.clone())),
        (Expect::Slots(vec![(fr.clone(), 1)]), Some(changed.clone())),
        (Expect::Slots(Vec::new()), Some(changed)),
    ];
    for (expect, refusal) in cases {
        let batch = Batch {
            expect: vec![expect.clone()],
            ..Batch::new(article.clone())
        };
        assert_eq!(bench.store.commit(batch).await.err(), refusal, "{expect:?}");
    }
    let taken = create(&id("a2"), metadata_at("https://e.test/1"), content("t", &["p"]));
    let holder = Conflict::Alias {
        alias: url("https://e.test/1").to_string(),
        holder: article,
    };
    assert_eq!(bench.store.commit(taken).await, Err(StoreError::Conflict(holder)));
}

/// Commits all concurrently. Returns the index of the winner and the conflicts of the others.
async fn race(bench: &Bench, batches: Vec<Batch>) -> (usize, BTreeSet<String>) {
    let results = join_all(batches.into_iter().map(|batch| {
        let store = bench.store.clone();
        async move {
            tokio::spawn(async move { store.commit(batch).await })
                .await
                .unwrap()
        }
    }))
    .await;
    let winners: Vec<_> = (0..).zip(&results).filter(|(_, result)| result.is_ok()).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    let losers = results.iter().filter_map(|result| result.as_ref().err());
    (winners[0].0, losers.map(ToString::to_string).collect())
}

fn told(text: &str) -> BTreeSet<String> {
    BTreeSet::from([format!("a precondition failed: {text}")])
}

async fn of_concurrent_creations_one_wins(bench: &mut Bench) {
    let titles: Vec<_> = (0..100).map(|number| format!("title {number}")).collect();
    let batches = titles
        .iter()
        .map(|title| create(&id("a"), metadata(), content(title, &["p"])));
    let (winner, losers) = race(bench, batches.collect()).await;
    assert_eq!(losers, told("article \"a\" has changed"));
    let state = bench.article(&id("a")).await.unwrap();
    assert_eq!(state.head.title.content.text(), titles[winner]);
}

async fn of_concurrent_revisions_one_wins(bench: &mut Bench) {
    bench.store.commit(simple(&id("a"))).await.unwrap();
    for round in 1..5 {
        let state = bench.article(&id("a")).await.unwrap();
        let titles: Vec<_> = (0..50).map(|number| format!("title {round} {number}")).collect();
        let batches = titles.iter().map(|title| revise(&state, content(title, &["p"])));
        let (winner, losers) = race(bench, batches.collect()).await;
        assert_eq!(losers, told("article \"a\" has changed"));
        let state = bench.article(&id("a")).await.unwrap();
        assert_eq!(state.head.version(), round + 1);
        assert_eq!(state.head.title.content.text(), titles[winner]);
    }
}

async fn of_concurrent_writes_to_a_slot_one_wins(bench: &mut Bench) {
    bench.store.commit(simple(&id("a"))).await.unwrap();
    for round in 1..4 {
        let state = bench.article(&id("a")).await.unwrap();
        let mut batches = Vec::new();
        for number in 0..30 {
            let texts = texts(&format!("{round} {number}"), 2);
            batches.push(
                attach(&*bench.store, &state, &language("fr"), &texts)
                    .await
                    .unwrap(),
            );
        }
        let (_, losers) = race(bench, batches).await;
        assert_eq!(losers, told("the fr translations of article \"a\" have changed"));
        let state = bench.article(&id("a")).await.unwrap();
        assert_eq!(state.slots[&language("fr")].version, round);
    }
}

async fn of_concurrent_decisions_on_all_slots_one_wins(bench: &mut Bench) {
    bench.store.commit(simple(&id("a"))).await.unwrap();
    let state = bench.article(&id("a")).await.unwrap();
    let mut batches = Vec::new();
    // Each adds another slot, which none of the others knew of.
    for tag in ["fr", "de", "en", "es", "it", "tr", "fa", "he"] {
        let mut batch = attach(&*bench.store, &state, &language(tag), &texts("x", 2))
            .await
            .unwrap();
        batch.expect = vec![Expect::Slots(Vec::new())];
        batches.push(batch);
    }
    let (_, losers) = race(bench, batches).await;
    assert_eq!(losers, told("article \"a\" has changed"));
    assert_eq!(bench.article(&id("a")).await.unwrap().slots.len(), 1);
}

async fn of_concurrent_claims_of_an_alias_one_wins(bench: &mut Bench) {
    let ids: Vec<_> = (0..100).map(|number| id(&format!("a{number}"))).collect();
    let claims = ids
        .iter()
        .map(|id| create(id, metadata_at("https://e.test/one"), content("t", &["p"])));
    let (winner, losers) = race(bench, claims.collect()).await;
    let holder = &ids[winner];
    assert_eq!(
        losers,
        told(&format!(
            "url \"https://e.test/one\" belongs to article \"{holder}\""
        ))
    );
    let found = bench.store.lookup(&[url("https://e.test/one")]).await.unwrap();
    assert_eq!(found, [Some(holder.clone())]);
    assert_eq!(bench.store.scan(None, 200).await.unwrap().len(), 1);
}

async fn of_concurrent_calls_with_a_request_one_wins(bench: &mut Bench) {
    let calls = (0..100).map(|number| with_request(simple(&id(&format!("a{number}"))), 7));
    let (winner, losers) = race(bench, calls.collect()).await;
    assert_eq!(losers, told("the request was recorded meanwhile"));
    let request = bench.store.request(&request_key(7)).await.unwrap().unwrap();
    assert_eq!(request.article, id(&format!("a{winner}")));
    assert_eq!(bench.store.scan(None, 200).await.unwrap().len(), 1);
}

async fn an_article_keeps_its_aliases(bench: &mut Bench) {
    let (first, second) = ("https://e.test/first", "https://e.test/second");
    bench
        .store
        .commit(create(&id("a"), metadata_at(first), content("t", &["p"])))
        .await
        .unwrap();
    let state = bench.article(&id("a")).await.unwrap();
    let moved = edit(&state, |metadata| *metadata = metadata_at(second));
    bench.store.commit(moved).await.unwrap();
    let aliases = [url(first), url(second), url("https://e.test/third")];
    let holders = bench.store.lookup(&aliases).await.unwrap();
    assert_eq!(holders, [Some(id("a")), Some(id("a")), None]);
    // Its own former alias is no obstacle, another article's is.
    let state = bench.article(&id("a")).await.unwrap();
    let back = edit(&state, |metadata| *metadata = metadata_at(first));
    bench.store.commit(back).await.unwrap();
    let refused = create(&id("b"), metadata_at(second), content("t", &["p"]));
    assert!(matches!(
        bench.store.commit(refused).await,
        Err(StoreError::Conflict(Conflict::Alias { holder, .. })) if holder == id("a")
    ));
}

async fn a_refused_batch_does_not_harm_those_beside_it(bench: &mut Bench) {
    bench.store.commit(simple(&id("a0"))).await.unwrap();
    // Every second one is refused.
    let batches = (0..200).map(|number| match number % 2 {
        0 => simple(&id("a0")),
        _ => simple(&id(&format!("a{number}"))),
    });
    let results = join_all(batches.map(|batch| bench.store.commit(batch))).await;
    for (number, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), number % 2 == 1, "{number}: {result:?}");
    }
    assert_eq!(bench.store.status().await.unwrap().seq, 101);
    assert_eq!(bench.store.scan(None, 1000).await.unwrap().len(), 101);
}

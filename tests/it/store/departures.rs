//! Departures: what a store says of the revisions before one is what all deltas say, and costs no more after many
//! revisions than after few.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use article_store::clock::ManualClock;
use article_store::domain::article::{DraftContent, Significance};
use article_store::domain::departures::{Departures, Lookup, RevisionDelta};
use article_store::domain::draft::{ArticleDraft, ArticlePatch};
use article_store::domain::segment::DraftSegment;
use article_store::service::{Call, Service};
use article_store::store::kv::KvStore;
use article_store::store::kv::engine::{Compacting, Direction, Engine, Visitor, Write};
use article_store::store::kv::memory::MemoryEngine;
use article_store::store::{Result, Sizes, Store};

use super::bench::{Bench, at, within_limit};
use super::fixtures::*;
use crate::harness::Random;

on_every_store! {
    a_lookup_is_answered_as_by_all_deltas,
}

/// Texts that come and go, also as several segments at once.
const TEXTS: [&str; 5] = ["one", "two", "three", "four", "five"];

async fn a_lookup_is_answered_as_by_all_deltas(bench: &mut Bench) {
    let mut random = Random::new(1);
    let mut any = |count: usize| TEXTS[random.below(count as u64) as usize];
    let (article, other) = (id("a"), id("a.b"));
    for article in [&article, &other] {
        bench.store.commit(simple(article)).await.unwrap();
    }
    let mut deltas: Vec<RevisionDelta> = Vec::new();
    for number in 2..60 {
        // A neighbour by name, whose history is its own.
        let state = bench.article(&other).await.unwrap();
        let revised = revise(&state, content(any(2), &[any(2)]));
        bench.store.commit(revised).await.unwrap();

        let state = bench.article(&article).await.unwrap();
        let body: Vec<_> = (0..number % 4).map(|_| any(5)).collect();
        let mut revised = revise(&state, content(any(3), &body));
        let level = Significance::ALL.get(number % 9).copied();
        if let Some(delta) = &mut revised.delta {
            delta.significance = level;
            deltas.push(delta.clone());
        }
        bench.store.commit(revised).await.unwrap();
    }
    for _ in 0..2 {
        let state = bench.article(&article).await.unwrap();
        let everything = all_that_was(&*bench.store, &state).await;
        assert!(everything.texts.len() > TEXTS.len());
        for revision in 1..=state.head.revision() {
            let all = Lookup {
                revision,
                ..everything.clone()
            };
            let expected = Departures::of(&deltas, &all);
            assert_eq!(bench.store.departures(&article, &all).await.unwrap(), expected);
            let text = *all.texts.iter().nth(revision as usize % all.texts.len()).unwrap();
            let one = Lookup {
                texts: [text].into(),
                ..Lookup::before(revision)
            };
            let expected = Departures::of(&deltas, &one);
            assert_eq!(bench.store.departures(&article, &one).await.unwrap(), expected);
        }
        bench.reopen().await;
    }
    let nobody = Lookup::before(9);
    let nothing = bench.store.departures(&id("nobody"), &nobody).await.unwrap();
    assert_eq!(nothing, Departures::default());
}

/// Counts what is read and written.
struct Counting {
    engine: MemoryEngine,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
}

impl Counts {
    fn read(&self, key: &[u8], value: &[u8]) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_bytes
            .fetch_add((key.len() + value.len()) as u64, Ordering::Relaxed);
    }

    /// What was counted since this was last asked.
    fn take(&self) -> [u64; 4] {
        [&self.reads, &self.read_bytes, &self.writes, &self.written_bytes]
            .map(|count| count.swap(0, Ordering::Relaxed))
    }
}

impl Engine for Counting {
    fn name(&self) -> &'static str {
        self.engine.name()
    }
    fn location(&self) -> String {
        self.engine.location()
    }
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.engine.get(key)?;
        self.counts.read(key, value.as_deref().unwrap_or_default());
        Ok(value)
    }
    fn scan(
        &self,
        range: RangeInclusive<&[u8]>,
        direction: Direction,
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        self.counts.read(range.start(), &[]);
        self.engine.scan(range, direction, &mut |key, value| {
            self.counts.read(key, value);
            visit(key, value)
        })
    }
    fn admit(&self) -> Result<()> {
        self.engine.admit()
    }
    fn apply(&self, batch: Vec<Write>) -> Result<()> {
        let bytes = batch.iter().map(|write| match write {
            Write::Put(key, value) => key.len() + value.len(),
            Write::Remove(key) => key.len(),
        });
        let counts = &self.counts;
        counts.writes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        counts
            .written_bytes
            .fetch_add(bytes.sum::<usize>() as u64, Ordering::Relaxed);
        self.engine.apply(batch)
    }
    fn flush(&self) -> Result<()> {
        self.engine.flush()
    }
    fn sync(&self) -> Result<()> {
        self.engine.sync()
    }
    fn wants_reopen(&self) -> bool {
        self.engine.wants_reopen()
    }
    fn compact(&self) -> Result<Compacting> {
        self.engine.compact()
    }
    fn stop_compacting(&self) {
        self.engine.stop_compacting();
    }
    fn reopen(&self) -> Result<()> {
        self.engine.reopen()
    }
    fn sizes(&self) -> Result<Sizes> {
        self.engine.sizes()
    }
    fn close(&self) -> Result<()> {
        self.engine.close()
    }
}

const PARAGRAPHS: usize = 40;
const REVISIONS: usize = 400;

/// A live blog whose paragraphs all change with every revision.
fn paragraphs(revision: usize) -> Vec<DraftSegment> {
    let paragraph = |number| {
        let text = format!("At {revision:04} minutes, paragraph {number:02} says what it said before.");
        DraftSegment::paragraph(text).unwrap()
    };
    (0..PARAGRAPHS).map(paragraph).collect()
}

#[test]
fn a_live_blog_ends_at_the_cost_that_it_began_with() {
    within_limit(async {
        let counts = Arc::new(Counts::default());
        let engine = Counting {
            engine: MemoryEngine::new(),
            counts: counts.clone(),
        };
        let clock = Arc::new(ManualClock::at(at("2022-05-10T22:45:00Z")));
        // Without a cache, so that everything that is needed is read.
        let store = Arc::new(KvStore::open(engine, clock.clone(), 0).unwrap());
        let service = Service::new(store.clone(), clock);
        let (call, blog) = (Call::default(), id("blog"));
        let draft = ArticleDraft {
            id: Some(id("blog")),
            metadata: metadata(),
            content: DraftContent {
                title: DraftSegment::paragraph("Live".into()).unwrap(),
                lead: DraftSegment::paragraph(String::new()).unwrap(),
                body: paragraphs(0),
            },
        };
        service.create_article(&call, draft).await.unwrap();
        let mut costs = Vec::with_capacity(REVISIONS);
        for revision in 1..=REVISIONS {
            let patch = ArticlePatch {
                body: Some(paragraphs(revision)),
                ..ArticlePatch::default()
            };
            counts.take();
            let update = service.update_article(&call, &blog, &patch, None, None, None);
            update.await.unwrap();
            costs.push(counts.take());
        }
        let sum = |part: &[[u64; 4]]| {
            let add = |sum: [u64; 4], cost: &[u64; 4]| std::array::from_fn(|kind| sum[kind] + cost[kind]);
            part.iter().fold([0; 4], add)
        };
        // The way from a version to the earlier ones grows with the logarithm of their number.
        let (first, last) = (sum(&costs[..20]), sum(&costs[REVISIONS - 20..]));
        for (kind, (first, last)) in first.into_iter().zip(last).enumerate() {
            assert!(
                last * 10 <= first * 11,
                "{kind}: {first} at first, {last} at last"
            );
        }

        // A text of long ago gets its segment back.
        let read = async || store.articles(&[id("blog")]).await.unwrap().remove(0).unwrap();
        let before = read().await;
        let mut body = paragraphs(REVISIONS);
        body.swap_remove(7);
        body.insert(3, paragraphs(2).swap_remove(7));
        let patch = ArticlePatch {
            body: Some(body),
            ..ArticlePatch::default()
        };
        let update = service.update_article(&call, &blog, &patch, None, None, None);
        update.await.unwrap();
        let id_of = |state: &article_store::store::ArticleState, place: usize| {
            let body = state.head.manifest.0.iter().skip(1);
            body.map(|entry| entry.id.clone()).nth(place).unwrap()
        };
        assert_eq!(id_of(&*read().await, 3), id_of(&before, 7));
        assert_eq!(store.check().await.unwrap(), []);
    });
}

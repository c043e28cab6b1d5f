//! What could not be read back is refused on the way in, whichever record it is, and leaves the store as it was.

use article_store::domain::article::Tombstone;
use article_store::domain::departures::RevisionDelta;
use article_store::domain::ids::SegmentId;
use article_store::domain::job::{Failure, Job, JobKind};
use article_store::domain::provenance::Actor;
use article_store::domain::segment::TextHash;
use article_store::domain::time::Stamp;
use article_store::store::{Batch, StoreError};

use super::bench::{Bench, at};
use super::fixtures::*;

on_every_store! {
    a_record_that_could_not_be_read_back_is_refused,
}

/// The most bytes of a record.
const LIMIT: usize = 64 << 20;

fn long() -> String {
    "x".repeat(LIMIT + 1)
}

async fn a_record_that_could_not_be_read_back_is_refused(bench: &mut Bench) {
    let article = id("a");
    bench.store.commit(simple(&article)).await.unwrap();
    let state = bench.article(&article).await.unwrap();
    let head = |change: &dyn Fn(&mut article_store::domain::article::Head)| {
        let mut head = (*state.head).clone();
        change(&mut head);
        Some(head)
    };
    let open = Job::open(&article, key("fr", JobKind::Mt), None, 1, order());
    let batches = [
        (
            "metadata",
            Batch {
                head: head(&|head| head.current.metadata.dateline = long()),
                ..Batch::new(article.clone())
            },
        ),
        ("version", create(&id("b"), metadata(), content("t", &[&long()]))),
        (
            "translation job",
            Batch {
                jobs: vec![Job {
                    last_failure: Some(Failure {
                        message: long(),
                        worker: String::new(),
                        time: at("2022-05-10T22:45:00Z"),
                    }),
                    ..open
                }],
                ..Batch::new(article.clone())
            },
        ),
        (
            "revision delta",
            Batch {
                delta: Some(RevisionDelta {
                    revision: 2,
                    significance: None,
                    content: TextHash([0; 16]),
                    departed: vec![(SegmentId::Body(1), TextHash([7; 16])); LIMIT / 16],
                }),
                ..Batch::new(article.clone())
            },
        ),
        (
            "tombstone",
            Batch {
                purge: Some(Tombstone {
                    article: article.clone(),
                    stamp: Stamp::PENDING,
                    reason: long(),
                    actor: Actor::default(),
                }),
                ..Batch::new(article.clone())
            },
        ),
        (
            "request",
            Batch {
                request: with_request(Batch::new(article.clone()), 1)
                    .request
                    .map(|mut record| {
                        record.key.principal = long();
                        record
                    }),
                ..Batch::new(article.clone())
            },
        ),
    ];
    for (kind, batch) in batches {
        let refused = bench.store.commit(batch).await.unwrap_err();
        match refused {
            StoreError::TooLarge {
                record,
                size_bytes,
                limit_bytes,
                ..
            } => {
                assert_eq!(record, kind);
                assert_eq!(limit_bytes, LIMIT as u64);
                assert!(size_bytes > limit_bytes);
            }
            other => panic!("{kind}: {other:?}"),
        }
    }
    assert_eq!(bench.store.status().await.unwrap().seq, 1);
    assert_eq!(bench.article(&article).await, Some(state));
}

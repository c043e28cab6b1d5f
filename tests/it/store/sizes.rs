//! What could not be read back is refused on the way in, whichever record it is, and leaves the store as it was.

use std::sync::Arc;

use article_store::domain::article::Tombstone;
use article_store::domain::change::{self, Event, JobStep, Kind};
use article_store::domain::departures::RevisionDelta;
use article_store::domain::ids::SegmentId;
use article_store::domain::job::{ClaimQuery, Failure, Grant, Job, JobKind};
use article_store::domain::provenance::Actor;
use article_store::domain::request::RequestKey;
use article_store::domain::segment::TextHash;
use article_store::domain::time::Stamp;
use article_store::store::{ArticleState, Batch, Claim, PolicyChange, StoreError};
use futures::future::join_all;

use super::bench::{Bench, at};
use super::fixtures::*;

on_every_store! {
    a_record_that_could_not_be_read_back_is_refused,
    a_policy_that_could_not_be_read_back_is_refused,
    a_claim_whose_records_could_not_be_read_back_is_refused,
    changes_of_a_group_that_fill_more_than_a_record_are_read_back,
}

/// The most bytes of a record.
const LIMIT: usize = 64 << 20;
/// The most bytes of the changes of a commit.
const LIMIT_OF_CHANGES: usize = LIMIT / 2;

fn long() -> String {
    "x".repeat(LIMIT + 1)
}

/// An event of more than so many bytes.
fn event(state: &ArticleState, bytes: usize) -> Event {
    let mut event = Event::about(&state.head, Kind::ArticleMetadataChanged, None);
    event.scope.section = "x".repeat(bytes);
    event
}

fn assert_refused(error: StoreError, kind: &str, limit: usize) {
    match error {
        StoreError::TooLarge {
            record,
            size_bytes,
            limit_bytes,
            ..
        } => {
            assert_eq!((record, limit_bytes), (kind, limit as u64));
            assert!(size_bytes > limit_bytes);
        }
        other => panic!("{kind}: {other:?}"),
    }
}

async fn a_record_that_could_not_be_read_back_is_refused(bench: &mut Bench) {
    let article = id("a");
    bench.store.commit(simple(&article)).await.unwrap();
    let state = bench.article(&article).await.unwrap();
    let slot = attach(&*bench.store, &state, &language("fr"), &texts("x", 2)).await;
    bench.store.commit(slot.unwrap()).await.unwrap();
    let state = bench.article(&article).await.unwrap();
    let head = |change: &dyn Fn(&mut article_store::domain::article::Head)| {
        let mut head = (*state.head).clone();
        change(&mut head);
        Some(head)
    };
    let open = Job::open(&article, key("fr", JobKind::Mt), None, 1, order());
    let slot = {
        let mut slot = (*state.slots[&language("fr")]).clone();
        slot.translations[0].external_uri = long();
        slot
    };
    let batches = [
        (
            "translations into a language",
            Batch {
                slots: vec![Arc::new(slot)],
                ..Batch::new(article.clone())
            },
        ),
        (
            "changes",
            Batch {
                events: vec![event(&state, LIMIT_OF_CHANGES)],
                ..Batch::new(article.clone())
            },
        ),
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
        let limit = if kind == "changes" {
            LIMIT_OF_CHANGES
        } else {
            LIMIT
        };
        assert_refused(refused, kind, limit);
    }
    assert_eq!(bench.store.status().await.unwrap().seq, 2);
    assert_eq!(bench.article(&article).await, Some(state));
}

async fn a_policy_that_could_not_be_read_back_is_refused(bench: &mut Bench) {
    let mut policy = policy("p", &["fr"]);
    put_policy(&*bench.store, &policy).await;
    policy.rule.sections = vec![long()];
    let refused = bench
        .store
        .change_policy(PolicyChange {
            id: policy.id.clone(),
            policy: Some(policy),
            expect: bench.store.policies().await.unwrap().seq,
            principal: String::new(),
        })
        .await
        .unwrap_err();
    let text = refused.to_string();
    assert!(text.starts_with("the policy would take 671"), "{text}");
    assert!(text.ends_with("and a record has at most 67108864"), "{text}");
    assert_refused(refused, "policy", LIMIT);
    let stored = bench.store.policies().await.unwrap();
    assert_eq!(stored.all[0].rule.sections, ["سياسة"]);
}

async fn a_claim_whose_records_could_not_be_read_back_is_refused(bench: &mut Bench) {
    let article = id("a");
    bench.store.commit(simple(&article)).await.unwrap();
    let state = bench.article(&article).await.unwrap();
    let job = opened(&state, &key("fr", JobKind::Mt), order());
    let batch = put_jobs(&state, vec![(job, JobStep::Opened)]);
    bench.store.commit(batch).await.unwrap();
    let claim = || Claim {
        query: ClaimQuery::default(),
        grants: vec![grant(1, 60)],
        rule: change::claim,
        principal: "worker".into(),
        request: None,
    };
    let claims = [
        (
            "translation job",
            LIMIT,
            Claim {
                grants: vec![Grant {
                    worker: long(),
                    ..grant(1, 60)
                }],
                ..claim()
            },
        ),
        (
            "changes",
            LIMIT_OF_CHANGES,
            Claim {
                principal: "x".repeat(LIMIT_OF_CHANGES),
                ..claim()
            },
        ),
        (
            "request",
            LIMIT,
            Claim {
                request: Some((
                    RequestKey {
                        principal: long(),
                        ..request_key(1)
                    },
                    [0; 32],
                )),
                ..claim()
            },
        ),
    ];
    let before = bench.article(&article).await;
    for (kind, limit, claim) in claims {
        assert_refused(bench.store.claim(claim).await.unwrap_err(), kind, limit);
    }
    assert_eq!(bench.article(&article).await, before);
    assert_eq!(bench.store.status().await.unwrap().seq, 2);
    assert_eq!(bench.store.claim(claim()).await.unwrap().jobs.len(), 1);
}

async fn changes_of_a_group_that_fill_more_than_a_record_are_read_back(bench: &mut Bench) {
    let article = id("a");
    bench.store.commit(simple(&article)).await.unwrap();
    let state = bench.article(&article).await.unwrap();
    let open = |tag| (opened(&state, &key(tag, JobKind::Mt), order()), JobStep::Opened);
    let tags = ["fr", "de", "es", "it"];
    let batch = put_jobs(&state, tags.into_iter().map(open).collect());
    bench.store.commit(batch).await.unwrap();
    // The writer takes the first, and then all that wait.
    let claims = (1..=4).map(|number| {
        bench.store.claim(Claim {
            query: ClaimQuery::default(),
            grants: vec![grant(number, 60)],
            rule: change::claim,
            principal: "x".repeat(LIMIT_OF_CHANGES * 3 / 4),
            request: None,
        })
    });
    for claimed in join_all(claims).await {
        assert_eq!(claimed.unwrap().jobs.len(), 1);
    }
    bench.reopen().await;
    let changes = bench.store.changes(0, 10).await.unwrap();
    assert_eq!(changes.commits.len(), 6);
}

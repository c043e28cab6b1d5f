//! Random histories of an article and its translations over the wire: after every call, what it may not have touched is as
//! it was, and the record has grown by what was done and by nothing else.

use article_store::domain::change::Kind;
use article_store::pb;
use pb::attach_translation_request::Content;
use pb::{AgentKind, Disposition, Freshness, TranslationState};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::workflow::{acknowledge, provenance, reject, review, select};
use super::{agent, article, by_id, create, get, rewrite, target_of, update};
use crate::harness::{Server, failure};

#[derive(Debug, Clone)]
enum Call {
    /// Which wording each of the paragraphs has; 3 is none.
    Rewrite([usize; 4]),
    /// The text of an earlier revision.
    Revert(usize),
    Metadata(usize),
    Attach {
        agent: usize,
        /// 0 to 2 the active one, 3 a new one, else one by number.
        target: usize,
        back: u32,
        segments: usize,
        words: usize,
        state: usize,
    },
    Review {
        agent: usize,
        target: usize,
        segments: usize,
        to: usize,
    },
    Acknowledge {
        agent: usize,
        target: usize,
        back: u32,
    },
    Select(usize),
    Reject(usize),
    Detach(usize),
}

fn call() -> impl Strategy<Value = Call> {
    let agent = 0usize..4;
    let target = 0usize..7;
    let back = prop_oneof![4 => Just(0u32), 1 => 1u32..3];
    let state = prop_oneof![5 => Just(1usize), 1 => 0usize..4];
    let attach = (
        agent.clone(),
        target.clone(),
        back.clone(),
        1usize..16,
        0usize..3,
        state,
    );
    prop_oneof![
        3 => [0usize..4, 0usize..4, 0usize..4, 0usize..3].prop_map(Call::Rewrite),
        2 => (0usize..20).prop_map(Call::Revert),
        1 => (0usize..3).prop_map(Call::Metadata),
        7 => attach.prop_map(|(agent, target, back, segments, words, state)| Call::Attach {
            agent, target, back, segments, words, state
        }),
        4 => (agent.clone(), target.clone(), prop_oneof![Just(0usize), 1usize..16], 0usize..4)
            .prop_map(|(agent, target, segments, to)| Call::Review { agent, target, segments, to }),
        2 => (agent, target.clone(), back)
            .prop_map(|(agent, target, back)| Call::Acknowledge { agent, target, back }),
        2 => target.clone().prop_map(Call::Select),
        1 => target.clone().prop_map(Call::Reject),
        1 => target.prop_map(Call::Detach),
    ]
}

const STATES: [TranslationState; 4] = [
    TranslationState::Initial,
    TranslationState::Translated,
    TranslationState::Reviewed,
    TranslationState::Final,
];

fn who(number: usize) -> Option<pb::Agent> {
    [
        agent(AgentKind::Human, "Leïla"),
        agent(AgentKind::Human, "Omar"),
        agent(AgentKind::Mt, "opus"),
        agent(AgentKind::Llm, "large"),
    ][number]
        .clone()
}

/// The paragraphs of a wording, of which none is blank.
fn paragraphs(wording: [usize; 4]) -> Vec<String> {
    let bases = [
        "أعلنت وزارة الخارجية الأمريكية أن الوزير لن يحضر المؤتمر",
        "The central bank left its key rate unchanged on Tuesday",
        "Le cœur déçu mais l'âme plutôt naïve, dit la chanson",
        "Съешь ещё этих мягких французских булок, да выпей чаю",
    ];
    let said = bases.iter().zip(wording).filter(|(_, variant)| *variant < 3);
    said.map(|(base, variant)| format!("{base}{}", ["", " وفق بيان", "!"][variant]))
        .collect()
}

/// All that can be read of the translations.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    translations: Vec<pb::Translation>,
    records: Vec<pb::ProvenanceRecord>,
}

impl Seen {
    fn summaries(&self) -> impl Iterator<Item = &pb::TranslationSummary> {
        self.translations.iter().map(|t| t.summary.as_ref().unwrap())
    }

    fn id(&self, target: usize) -> String {
        format!("t{}", target % (self.translations.len() + 1) + 1)
    }
}

async fn read(server: &Server, id: &str, revision: Option<u32>) -> pb::Translation {
    let request = pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: id.into(),
        at: revision.map(pb::get_translation_request::At::Revision),
        show_hidden: false,
        evidence_only: false,
    };
    let answer = server.translations().get_translation(request).await;
    answer.unwrap().into_inner().translation.unwrap()
}

async fn look(server: &Server) -> Seen {
    let request = pb::ListTranslationsRequest {
        article_id: "a".into(),
        show_withdrawn: true,
        ..Default::default()
    };
    let listed = server
        .translations()
        .list_translations(request)
        .await
        .unwrap()
        .into_inner();
    let mut translations = Vec::new();
    for summary in &listed.translations {
        let translation = read(server, &summary.translation_id, None).await;
        assert_eq!(translation.summary.as_ref(), Some(summary));
        translations.push(translation);
    }
    let records = match translations.is_empty() {
        true => Vec::new(),
        false => provenance(server, "", 7).await,
    };
    Seen {
        translations,
        records,
    }
}

/// Makes a call; an answer may be a refusal, but only one of those that the rules know.
async fn make(server: &Server, call: &Call, seen: &Seen, past: &mut Vec<Vec<String>>) {
    let mut client = server.translations();
    let head = get(server, "a").await;
    let revision = |back: u32| head.revision.saturating_sub(back).max(1);
    let etag = |id: &str| {
        let mut summaries = seen.summaries();
        let found = summaries.find(|summary| summary.translation_id == id);
        found.map_or_else(|| "1-0".to_owned(), |summary| summary.etag.clone())
    };
    let refused = match call {
        Call::Rewrite(wording) => {
            let texts = paragraphs(*wording);
            let revised = rewrite(server, "a", &texts).await;
            if revised.revision > head.revision {
                past.push(texts);
            }
            None
        }
        Call::Revert(to) => {
            let number = to % past.len();
            let texts = past[number].clone();
            let revised = rewrite(server, "a", &texts).await;
            if revised.revision > head.revision {
                past.push(texts);
            }
            for translation in &seen.translations {
                // Now as then: the same segments are wrong in the same way.
                let now = read(server, &translation.translation_id, None)
                    .await
                    .summary
                    .unwrap();
                let then = read(server, &translation.translation_id, Some(number as u32 + 1)).await;
                assert_eq!(blamed(&now), blamed(&then.summary.unwrap()));
            }
            None
        }
        Call::Metadata(number) => {
            let metadata = pb::Article {
                article_id: "a".into(),
                section: format!("قسم {number}"),
                ..Default::default()
            };
            update(server, metadata, &["section"]).await;
            None
        }
        Call::Attach {
            agent,
            target,
            back,
            segments,
            words,
            state,
        } => {
            let chosen = [1, 2, 3, 4].map(|n| format!("s{n}")).into_iter().enumerate();
            let chosen = chosen.filter(|(bit, _)| segments >> bit & 1 == 1);
            let text = pb::TargetText {
                body: chosen
                    .map(|(_, id)| target_of(&id, &format!("{id} {words}")))
                    .collect(),
                ..Default::default()
            };
            let request = pb::AttachTranslationRequest {
                content: Some(Content::Text(text)),
                agent: who(*agent),
                new_candidate: *target == 3,
                translation_id: if *target > 3 {
                    seen.id(*target)
                } else {
                    String::new()
                },
                state: STATES[*state].into(),
                ..by_id("a", "en", revision(*back), &[])
            };
            client.attach_translation(request).await.err()
        }
        Call::Review {
            agent,
            target,
            segments,
            to,
        } => {
            let id = seen.id(*target);
            let chosen = [1, 2, 3, 4].map(|n| format!("s{n}")).into_iter().enumerate();
            let request = pb::ReviewTranslationRequest {
                translation_id: id.clone(),
                segment_ids: chosen
                    .filter(|(bit, _)| segments >> bit & 1 == 1)
                    .map(|(_, id)| id)
                    .collect(),
                state: STATES[*to].into(),
                agent: who(*agent),
                reason: "because".into(),
                ..review("", &etag(&id))
            };
            client.review_translation(request).await.err()
        }
        Call::Acknowledge { agent, target, back } => {
            let id = seen.id(*target);
            let request = pb::AcknowledgeSourceRequest {
                translation_id: id.clone(),
                agent: who(*agent),
                ..acknowledge("", &etag(&id), revision(*back))
            };
            client.acknowledge_source(request).await.err()
        }
        Call::Select(target) => client
            .select_translation(select(&seen.id(*target), ""))
            .await
            .err(),
        Call::Reject(target) => {
            let request = reject(&seen.id(*target), "no");
            client.reject_translation(request).await.err()
        }
        Call::Detach(target) => {
            let request = pb::DetachTranslationRequest {
                article_id: "a".into(),
                language: "en".into(),
                translation_id: seen.id(*target),
                ..Default::default()
            };
            client.detach_translation(request).await.err()
        }
    };
    if let Some(status) = refused {
        let reason = failure(&status).reason;
        let known = [
            "BAD_FIELD",
            "TRANSLATION_NOT_FOUND",
            "ILLEGAL_TRANSITION",
            "PERSON_REQUIRED",
        ];
        assert!(known.contains(&reason.as_str()), "{call:?} {status:?}");
    }
}

type Blamed = (Freshness, [Vec<String>; 4]);

fn blamed(summary: &pb::TranslationSummary) -> Blamed {
    let ids = [
        &summary.stale_segment_ids,
        &summary.missing_segment_ids,
        &summary.orphaned_segment_ids,
        &summary.moved_segment_ids,
    ];
    (summary.freshness(), ids.map(Clone::clone))
}

/// A translation without what a review writes.
fn unreviewed(translation: &pb::Translation) -> pb::Translation {
    let mut plain = translation.clone();
    plain.body.iter_mut().for_each(|segment| segment.state = 0);
    let summary = plain.summary.as_mut().unwrap();
    (summary.state, summary.origin_class) = (0, 0);
    (summary.etag, summary.update_time) = (String::new(), None);
    plain
}

/// A translation without what a choice of what is served writes.
fn unchosen(translation: &pb::Translation) -> pb::Translation {
    let mut plain = translation.clone();
    let summary = plain.summary.as_mut().unwrap();
    (summary.disposition, summary.slot_etag) = (0, String::new());
    plain
}

/// A translation without what the source writes.
fn unsourced(translation: &pb::Translation) -> pb::Translation {
    let mut plain = translation.clone();
    plain.body.iter_mut().for_each(|segment| segment.freshness = 0);
    let summary = plain.summary.take().unwrap();
    plain.summary = Some(pb::TranslationSummary {
        language: summary.language,
        translation_id: summary.translation_id,
        source_revision: summary.source_revision,
        state: summary.state,
        disposition: summary.disposition,
        origin_class: summary.origin_class,
        etag: summary.etag,
        slot_etag: summary.slot_etag,
        create_time: summary.create_time,
        update_time: summary.update_time,
        ..Default::default()
    });
    plain
}

fn compare(call: &Call, before: &Seen, after: &Seen, steps: usize) {
    let active = after
        .summaries()
        .filter(|s| s.disposition() == Disposition::Active)
        .count();
    assert!(active <= 1);
    assert_eq!(after.records[..before.records.len()], before.records);
    assert_eq!(after.records.len(), before.records.len() + steps, "{call:?}");
    let all = |seen: &Seen, plain: fn(&pb::Translation) -> pb::Translation| {
        let known = seen.translations.iter().take(before.translations.len());
        known.map(plain).collect::<Vec<_>>()
    };
    match call {
        Call::Metadata(_) => assert_eq!(before, after),
        Call::Rewrite(_) | Call::Revert(_) => assert_eq!(all(before, unsourced), all(after, unsourced)),
        Call::Review { .. } => assert_eq!(all(before, unreviewed), all(after, unreviewed)),
        Call::Select(_) | Call::Reject(_) | Call::Detach(_) => {
            assert_eq!(all(before, unchosen), all(after, unchosen));
        }
        Call::Acknowledge { .. } => {
            for (old, new) in before.translations.iter().zip(&after.translations) {
                let kept = |s: &&pb::TargetSegment| new.body.iter().any(|n| n.segment_id == s.segment_id);
                let mut old_body: Vec<_> = old.body.iter().filter(kept).map(work).collect();
                let mut new_body: Vec<_> = new.body.iter().map(work).collect();
                old_body.sort();
                new_body.sort();
                assert_eq!(old_body, new_body);
                assert_eq!(chosen_as(old), chosen_as(new));
            }
        }
        Call::Attach { agent, .. } => {
            for (old, new) in before.translations.iter().zip(&after.translations) {
                assert_eq!(chosen_as(old), chosen_as(new));
                let own = old.agent == who(*agent) && chosen_as(old) == Disposition::Candidate;
                if *agent >= 2 && !own {
                    assert_protected(old, new);
                }
            }
        }
    }
}

fn chosen_as(translation: &pb::Translation) -> Disposition {
    translation.summary.as_ref().unwrap().disposition()
}

/// What an acknowledgement leaves of a segment.
fn work(segment: &pb::TargetSegment) -> (String, String, i32, i32) {
    let (id, text) = (segment.segment_id.clone(), segment.text.clone());
    (id, text, segment.state, segment.writer)
}

/// No machine replaced a text that a person wrote or reviewed; a text that is gone had left the source.
fn assert_protected(old: &pb::Translation, new: &pb::Translation) {
    let protected = old.body.iter().filter(|segment| {
        segment.writer() == AgentKind::Human || segment.state() >= TranslationState::Reviewed
    });
    for segment in protected {
        match new.body.iter().find(|s| s.segment_id == segment.segment_id) {
            Some(now) => assert_eq!((&now.text, now.writer), (&segment.text, segment.writer)),
            None => assert!(segment.source_revision <= new.source_revision),
        }
    }
}

async fn walk(calls: Vec<Call>) {
    let server = Server::memory().await;
    let mut past = vec![paragraphs([0; 4])];
    let texts: Vec<_> = past[0].iter().map(String::as_str).collect();
    // Without a headline: only paragraphs are translated here.
    let first = pb::Article {
        title: None,
        ..article("a", &texts)
    };
    create(&server, first).await;
    let mut before = look(&server).await;
    for call in &calls {
        let seq = server.seq().await;
        make(&server, call, &before, &mut past).await;
        let mut commits = server.store.changes(seq, usize::MAX).await.unwrap().commits;
        commits.retain(|commit| {
            commit.events.iter().any(|event| {
                event.language.is_some() && !matches!(event.kind, Kind::TranslationFreshnessChanged { .. })
            })
        });
        let after = look(&server).await;
        compare(call, &before, &after, commits.len());
        before = after;
    }
    server.check().await;
}

#[test]
fn every_call_writes_its_own_axis_and_one_record() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(48),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let histories = proptest::collection::vec(call(), 1..30);
    TestRunner::new(config)
        .run(&histories, |calls| {
            runtime.block_on(walk(calls));
            Ok::<_, TestCaseError>(())
        })
        .unwrap();
}

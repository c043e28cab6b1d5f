//! Quality over the wire: evidence on exact texts, and what the store measures.

use std::sync::Arc;

use article_store::api::Limits;
use article_store::domain::change::Kind;
use article_store::domain::ids::{ArticleId, TranslationId};
use article_store::domain::language::Language;
use article_store::domain::translation::TranslationVersion;
use article_store::domain::version::VersionKey;
use article_store::pb;
use article_store::store::Body;
use pb::{AgentKind, IssueSeverity, IssueSide};
use tonic::Code;

use super::{
    agent, article, attach, body, by_id, create, rewrite, segment, small_form, target, time, translation,
};
use crate::harness::{Server, Setup, blames, fails};

mod measuring;
mod refused;

fn score(segment: &str, value: f64) -> pb::QualityScore {
    pb::QualityScore {
        metric: "COMET".into(),
        metric_version: "22".into(),
        model: "wmt22-comet-da".into(),
        value,
        min: 0.0,
        max: 1.0,
        higher_is_better: true,
        segment_id: segment.into(),
        reference_kind: "NONE".into(),
        scorer: "scorer".into(),
        ..Default::default()
    }
}

pub(super) fn issue(segment: &str, side: IssueSide, range: Option<(u32, u32)>) -> pb::QualityIssue {
    pb::QualityIssue {
        dimension: "Accuracy".into(),
        subtype: "Mistranslation".into(),
        severity: IssueSeverity::Major.into(),
        side: side.into(),
        segment_id: segment.into(),
        start: range.map(|(start, _)| start),
        end: range.map(|(_, end)| end),
        comment: "المعنى مختلف".into(),
        annotator: "Rana".into(),
        ..Default::default()
    }
}

pub(super) fn evidence(
    scores: &[pb::QualityScore],
    issues: &[pb::QualityIssue],
) -> pb::AddQualityScoresRequest {
    pb::AddQualityScoresRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: "t1".into(),
        quality_scores: scores.to_vec(),
        quality_issues: issues.to_vec(),
        agent: agent(AgentKind::Rule, "scorer"),
        ..Default::default()
    }
}

async fn add(server: &Server, request: pb::AddQualityScoresRequest) -> pb::AddQualityScoresResponse {
    server
        .translations()
        .add_quality_scores(request)
        .await
        .unwrap()
        .into_inner()
}

async fn measure(server: &Server, request: pb::MeasureTranslationRequest) -> pb::MeasureTranslationResponse {
    server
        .translations()
        .measure_translation(request)
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_does_not_fit_beside_the_texts_is_read_without_them() {
    const PAGE: usize = 3 << 20;
    let server = Setup::memory().limits(Limits::default()).start().await;
    let long = "x".repeat(380);
    let texts = vec![long.as_str(); 5_000];
    create(&server, article("a", &texts)).await;
    attach(&server, small_form("a", "en", 1, &texts)).await;
    let get = |evidence_only| pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        evidence_only,
        ..Default::default()
    };
    let read = async |evidence_only| {
        let request = get(evidence_only);
        let answer = server.translations().get_translation(request).await.unwrap();
        answer.into_inner()
    };
    let noted = |number: usize| pb::QualityIssue {
        comment: format!("{number} {}", "y".repeat(800)),
        ..issue("s1", IssueSide::Target, None)
    };
    let part = |from: usize| (from..from + 250).map(noted).collect::<Vec<_>>();
    add(&server, evidence(&[], &part(0))).await;
    let whole = read(false).await;
    assert!(!whole.evidence_omitted);
    assert_eq!(whole.translation.as_ref().unwrap().quality_issues.len(), 250);
    for from in [250, 500, 750] {
        add(&server, evidence(&[], &part(from))).await;
    }
    let (texts, evidence) = (read(false).await, read(true).await);
    let sizes = [&texts, &evidence].map(prost::Message::encoded_len);
    assert!(sizes.iter().all(|bytes| *bytes <= PAGE), "{sizes:?}");
    assert!(texts.evidence_omitted && !evidence.evidence_omitted);
    let (texts, evidence) = (texts.translation.unwrap(), evidence.translation.unwrap());
    assert_eq!((texts.body.len(), texts.quality_issues.len()), (5_000, 0));
    assert_eq!((evidence.body.len(), evidence.quality_issues.len()), (0, 1_000));
    assert_eq!(texts.summary, evidence.summary);
    let request = pb::GetArticleRequest {
        article_id: "a".into(),
        languages: vec!["en".into()],
        ..Default::default()
    };
    let article = server.articles().get_article(request).await.unwrap().into_inner();
    assert!(article.body_omitted && article.evidence_omitted);
    assert!(prost::Message::encoded_len(&article) <= PAGE);
    assert_eq!(article.translation.unwrap(), texts);
    server.check().await;
}

pub(super) fn measuring(translation: &str, reference: &str) -> pb::MeasureTranslationRequest {
    pb::MeasureTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: translation.into(),
        reference_translation_id: reference.into(),
        show_hidden: false,
    }
}

const SOURCE: [&str; 3] = ["الفقرة الأولى عام 2021", "ثم الثانية", "وأخيرا الثالثة"];

/// An Arabic article with a machine's translation into English.
async fn translated(server: &Server) -> pb::Translation {
    create(server, article("a", &SOURCE)).await;
    attach(server, small_form("a", "en", 1, &["one in 2021", "two", "three"])).await;
    translation(server, "a", "en", "t1").await
}

/// Which scores and then issues are outdated.
async fn outdated(server: &Server) -> Vec<bool> {
    let read = translation(server, "a", "en", "t1").await;
    let scores = read.quality_scores.iter().map(|score| score.outdated);
    scores
        .chain(read.quality_issues.iter().map(|issue| issue.outdated))
        .collect()
}

/// All versions of the translation `en/t1`, newest first.
async fn versions(server: &Server) -> Vec<TranslationVersion> {
    let id = ArticleId::parse("a").unwrap();
    let state = server.store.articles(&[id]).await.unwrap().remove(0).unwrap();
    let slot = &state.slots[&Language::parse("en").unwrap()];
    let newest = slot.version_key(slot.translation(TranslationId(1)).unwrap());
    let key = |number| VersionKey {
        number,
        ..newest.clone()
    };
    let keys: Vec<_> = (1..=newest.number).rev().map(key).collect();
    let bodies = server.store.versions(&keys).await.unwrap();
    let version = |body: &Arc<Body>| match &**body {
        Body::Translation(version) => version.clone(),
        other => panic!("{other:?}"),
    };
    bodies.iter().map(version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_joins_a_translation_and_changes_nothing_else() {
    let server = Server::sled().await;
    let before = translated(&server).await;
    let (seq, earlier) = (server.seq().await, server.newest_commit().await);
    let (scores, issues) = (
        [score("", 0.5), score("s1", 0.75)],
        [
            issue("s1", IssueSide::Target, Some((0, 11))),
            issue("s2", IssueSide::Source, Some((10, 10))),
            pb::QualityIssue {
                severity: IssueSeverity::Neutral.into(),
                side: 0,
                ..issue("", IssueSide::Target, None)
            },
        ],
    );
    let answer = add(&server, evidence(&scores, &issues)).await;
    assert!(answer.added);
    assert_eq!(
        answer.translation, before.summary,
        "etag, state, disposition and times too"
    );
    let after = translation(&server, "a", "en", "t1").await;
    let plain = pb::Translation {
        quality_scores: vec![],
        quality_issues: vec![],
        ..after.clone()
    };
    assert_eq!(plain, before);
    let sent = |score: &pb::QualityScore| pb::QualityScore {
        create_time: None,
        ..score.clone()
    };
    assert!(after.quality_scores.iter().map(sent).eq(scores));
    let stored = time(server.newest_commit().await);
    for (index, (read, sent)) in after.quality_issues.iter().zip(&issues).enumerate() {
        let expected = pb::QualityIssue {
            side: if index == 1 {
                IssueSide::Source
            } else {
                IssueSide::Target
            }
            .into(),
            create_time: Some(stored),
            ..sent.clone()
        };
        assert_eq!(*read, expected);
    }
    let events = server.events_after(seq).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind, Kind::TranslationScored(TranslationId(1)));
    assert_eq!(
        events[0].etag.unwrap().to_string(),
        before.summary.as_ref().unwrap().etag
    );
    // Who wrote the text and who judged it both stand in the records.
    let kinds: Vec<_> = versions(&server)
        .await
        .into_iter()
        .map(|v| v.provenance.agent.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            article_store::domain::provenance::AgentKind::Rule,
            article_store::domain::provenance::AgentKind::Mt
        ]
    );
    // The moment before can be read back, and all of it survives a restart.
    let then = pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: "t1".into(),
        at: Some(pb::get_translation_request::At::AsOfTime(time(earlier))),
        show_hidden: false,
        evidence_only: false,
    };
    let then = server
        .translations()
        .get_translation(then)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(then.translation.unwrap(), before);
    let server = server.restart().await;
    assert_eq!(translation(&server, "a", "en", "t1").await, after);
    // An etag that was read with the text is still good for an edit, which keeps the evidence.
    let edit = pb::AttachTranslationRequest {
        etag: before.summary.unwrap().etag,
        ..by_id("a", "en", 1, &[("s2", "the second")])
    };
    attach(&server, edit).await;
    assert_eq!(outdated(&server).await, [true, false, false, true, true]);
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_outdated_by_either_text_and_heals_with_it() {
    let server = Server::memory().await;
    translated(&server).await;
    let issues = [
        issue("s1", IssueSide::Target, None),
        issue("s2", IssueSide::Source, Some((0, 2))),
    ];
    add(&server, evidence(&[score("", 0.5), score("s2", 0.5)], &issues)).await;
    assert_eq!(outdated(&server).await, [false; 4]);
    rewrite(&server, "a", &[SOURCE[0], "ثم الثانية!", SOURCE[2]]).await;
    assert_eq!(outdated(&server).await, [true, true, false, true]);
    // A judgement of the stale text is outdated from the start; its source is the one that was translated.
    let late = issue("s2", IssueSide::Source, Some((0, 10)));
    assert!(add(&server, evidence(&[], &[late])).await.added);
    let beyond = issue("s2", IssueSide::Source, Some((0, 11)));
    blames(
        server
            .translations()
            .add_quality_scores(evidence(&[], &[beyond]))
            .await,
        &["quality_issues[0].end"],
    );
    assert_eq!(outdated(&server).await, [true, true, false, true, true]);
    rewrite(&server, "a", &SOURCE).await;
    assert_eq!(outdated(&server).await, [false; 5]);
    attach(&server, by_id("a", "en", 3, &[("s1", "the first, 2021")])).await;
    assert_eq!(outdated(&server).await, [true, false, true, false, false]);
    attach(&server, by_id("a", "en", 3, &[("s1", "one in 2021")])).await;
    assert_eq!(outdated(&server).await, [false; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_again_is_no_write_and_a_retry_gets_the_first_answer() {
    let server = Server::sled().await;
    let read = translated(&server).await;
    let request = pb::AddQualityScoresRequest {
        etag: read.summary.unwrap().etag,
        request_id: uuid::Uuid::new_v4().to_string(),
        ..evidence(
            &[score("s1", 0.5)],
            &[issue("s1", IssueSide::Target, Some((0, 3)))],
        )
    };
    let seq = server.seq().await;
    let racing = (0..8).map(|_| add(&server, request.clone()));
    let answers = futures::future::join_all(racing).await;
    assert!(answers[0].added && answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(server.seq().await, seq + 1);
    // The text moves on, and the retry still gets the first answer, also after a restart.
    attach(&server, by_id("a", "en", 1, &[("s1", "uno")])).await;
    let server = server.restart().await;
    let seq = seq + 2;
    assert_eq!(server.seq().await, seq, "the evidence and the edit");
    assert_eq!(add(&server, request.clone()).await, answers[0]);
    let other = pb::AddQualityScoresRequest {
        quality_scores: vec![],
        ..request.clone()
    };
    let mut client = server.translations();
    fails(
        client.add_quality_scores(other).await,
        Code::InvalidArgument,
        "REQUEST_ID_REUSED",
    );
    assert_eq!(server.seq().await, seq);
    // Without a request id: on the new text it is new evidence, then it is known; an etag of another text is refused all the same.
    let fresh = pb::AddQualityScoresRequest {
        request_id: String::new(),
        etag: String::new(),
        ..request.clone()
    };
    assert!(add(&server, fresh.clone()).await.added);
    let stale = pb::AddQualityScoresRequest {
        etag: "1-0".into(),
        ..fresh.clone()
    };
    fails(
        client.add_quality_scores(stale).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    let known = add(&server, fresh.clone()).await;
    assert!(!known.added);
    assert_eq!(server.seq().await, seq + 1);
    let new = pb::AddQualityScoresRequest {
        etag: request.etag,
        quality_scores: vec![score("s1", 0.625)],
        ..fresh
    };
    let refused = fails(
        client.add_quality_scores(new).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert_eq!(refused.metadata["current_etag"], known.translation.unwrap().etag);
    server.check().await;
}

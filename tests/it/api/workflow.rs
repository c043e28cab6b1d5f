//! The workflow over the wire: reviews, selections, rejections, acknowledgements, and the record that they leave.

use article_store::domain::change::Kind;
use article_store::domain::ids::TranslationId;
use article_store::pb;
use pb::attach_translation_request::Content;
use pb::{AgentKind, AttachOutcome, Freshness, OriginClass, TranslationState};
use prost::Message;
use tonic::{Code, Status};

use super::{agent, article, attach, by_id, create, rewrite, small_form, target, translation};
use crate::harness::{Failure, Server, blames, fails};

mod provenance;
mod refused;
mod selection;

const TEXTS: [&str; 3] = [
    "أعلنت وزارة الخارجية الأمريكية أن الوزير لن يحضر المؤتمر",
    "وقال المتحدث باسم الوزارة إن الفحص جاء إيجابيا يوم الأربعاء",
    "ويشارك في المؤتمر وزراء من أكثر من ثمانين دولة",
];

pub(super) fn person(name: &str) -> Option<pb::Agent> {
    agent(AgentKind::Human, name)
}

pub(super) fn by_person(name: &str, request: pb::AttachTranslationRequest) -> pb::AttachTranslationRequest {
    pb::AttachTranslationRequest {
        agent: person(name),
        ..request
    }
}

/// A review of the whole translation `t1` of article `a` into English as REVIEWED.
pub(super) fn review(name: &str, etag: &str) -> pb::ReviewTranslationRequest {
    pb::ReviewTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: "t1".into(),
        etag: etag.into(),
        state: TranslationState::Reviewed.into(),
        agent: person(name),
        ..Default::default()
    }
}

pub(super) fn select(id: &str, slot_etag: &str) -> pb::SelectTranslationRequest {
    pb::SelectTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: id.into(),
        slot_etag: slot_etag.into(),
        ..Default::default()
    }
}

pub(super) fn reject(id: &str, reason: &str) -> pb::RejectTranslationRequest {
    pb::RejectTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: id.into(),
        reason: reason.into(),
        ..Default::default()
    }
}

pub(super) fn acknowledge(name: &str, etag: &str, revision: u32) -> pb::AcknowledgeSourceRequest {
    pb::AcknowledgeSourceRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: "t1".into(),
        etag: etag.into(),
        source_revision: revision,
        reason: "only spelling".into(),
        agent: person(name),
        ..Default::default()
    }
}

pub(super) async fn reviewed(
    server: &Server,
    request: pb::ReviewTranslationRequest,
) -> pb::TranslationSummary {
    let answer = server.translations().review_translation(request).await;
    answer.unwrap().into_inner().translation.unwrap()
}

pub(super) async fn selected(
    server: &Server,
    request: pb::SelectTranslationRequest,
) -> pb::TranslationSummary {
    let answer = server.translations().select_translation(request).await;
    answer.unwrap().into_inner().translation.unwrap()
}

pub(super) async fn rejected(
    server: &Server,
    request: pb::RejectTranslationRequest,
) -> pb::TranslationSummary {
    let answer = server.translations().reject_translation(request).await;
    answer.unwrap().into_inner().translation.unwrap()
}

pub(super) async fn acknowledged(
    server: &Server,
    request: pb::AcknowledgeSourceRequest,
) -> pb::TranslationSummary {
    let answer = server.translations().acknowledge_source(request).await;
    answer.unwrap().into_inner().translation.unwrap()
}

/// All steps of article `a` in English, read in pages of this size.
pub(super) async fn provenance(server: &Server, id: &str, page_size: i32) -> Vec<pb::ProvenanceRecord> {
    let mut records = Vec::new();
    let mut request = pb::ListProvenanceRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: id.into(),
        page_size,
        ..Default::default()
    };
    loop {
        let page = server
            .translations()
            .list_provenance(request.clone())
            .await
            .unwrap()
            .into_inner();
        records.extend(page.records);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return records;
        }
    }
}

async fn current(server: &Server, id: &str) -> pb::TranslationSummary {
    translation(server, "a", "en", id).await.summary.unwrap()
}

/// An Arabic article with a machine's translation into English.
async fn translated(server: &Server) -> pb::TranslationSummary {
    create(server, article("a", &TEXTS)).await;
    attach(server, small_form("a", "en", 1, &["one", "two", "three"]))
        .await
        .0
}

fn illegal<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, Status>) -> Failure {
    fails(answer, Code::FailedPrecondition, "ILLEGAL_TRANSITION")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_needs_another_and_moves_nothing_but_states() {
    let server = Server::sled().await;
    let mt = translated(&server).await;
    let before = translation(&server, "a", "en", "").await;
    let mut client = server.translations();
    // The machine itself cannot.
    let own = pb::ReviewTranslationRequest {
        agent: agent(AgentKind::Mt, "engine"),
        ..review("", &mt.etag)
    };
    let refused = illegal(client.review_translation(own).await);
    assert_eq!(refused.metadata["segment_ids"], "title s1 s2 s3");
    assert_eq!(refused.metadata["translation_id"], "t1");
    // Two paragraphs first: a translation is as far as its least segment.
    let seq = server.seq().await;
    let part = pb::ReviewTranslationRequest {
        segment_ids: vec!["s3".into(), "s1".into()],
        ..review("Leïla", &mt.etag)
    };
    let partly = reviewed(&server, part.clone()).await;
    assert_eq!(partly.state(), TranslationState::Translated);
    assert_eq!(partly.origin_class(), OriginClass::Mixed);
    assert_ne!(partly.etag, mt.etag);
    assert_eq!(
        (&partly.slot_etag, partly.disposition),
        (&mt.slot_etag, mt.disposition)
    );
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|e| e.kind)
        .collect();
    assert_eq!(kinds, [Kind::TranslationReviewed(TranslationId(1))]);
    let whole = reviewed(&server, review("Leïla", &partly.etag)).await;
    assert_eq!(whole.state(), TranslationState::Reviewed);
    assert_eq!(whole.origin_class(), OriginClass::MachineReviewed);
    assert_eq!(whole.freshness(), Freshness::Current);
    let read = translation(&server, "a", "en", "").await;
    assert_eq!(read.agent, before.agent, "the text is still the machine's");
    let plain = |mut segment: pb::TargetSegment| {
        segment.state = 0;
        segment
    };
    let texts = |t: &pb::Translation| t.body.iter().cloned().map(plain).collect::<Vec<_>>();
    assert_eq!(texts(&read), texts(&before));
    // Again: refused under an etag that is long gone, and nothing to be done under the present one.
    let seq = server.seq().await;
    let etag = whole.etag.clone();
    fails(
        server.translations().review_translation(part.clone()).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    let again = pb::ReviewTranslationRequest { etag, ..part };
    assert_eq!(reviewed(&server, again).await, whole);
    assert_eq!(server.seq().await, seq);
    // Who has not seen the text may not publish it, and learns what there is.
    let publish = |etag: &str| pb::ReviewTranslationRequest {
        state: TranslationState::Final.into(),
        ..review("Omar", etag)
    };
    let unseen = fails(
        client.review_translation(publish(&mt.etag)).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert_eq!(unseen.metadata["current_etag"], whole.etag);
    let published = reviewed(&server, publish(&whole.etag)).await;
    assert_eq!(published.state(), TranslationState::Final);
    // Lowering says why, and is no machine's business.
    let lower = |agent, reason: &str| pb::ReviewTranslationRequest {
        state: TranslationState::Translated.into(),
        segment_ids: vec!["s2".into()],
        reason: reason.into(),
        agent,
        ..review("", &published.etag)
    };
    blames(
        client.review_translation(lower(person("Omar"), " ")).await,
        &["reason"],
    );
    let machine = fails(
        client
            .review_translation(lower(agent(AgentKind::Llm, "qa"), "x"))
            .await,
        Code::FailedPrecondition,
        "PERSON_REQUIRED",
    );
    assert_eq!(machine.metadata["segment_ids"], "s2");
    let lowered = reviewed(&server, lower(person("Omar"), "misses a negation")).await;
    assert_eq!(lowered.state(), TranslationState::Translated);
    assert_eq!(lowered.origin_class(), OriginClass::Mixed);
    let read = translation(&server, "a", "en", "").await;
    let states: Vec<_> = read.body.iter().map(|s| s.state()).collect();
    let (end, middle) = (TranslationState::Final, TranslationState::Translated);
    assert_eq!(states, [end, middle, end]);
    // An edit sets its own segment back and no other.
    attach(
        &server,
        by_person("Omar", by_id("a", "en", 1, &[("s3", "THREE")])),
    )
    .await;
    let read = translation(&server, "a", "en", "").await;
    let states: Vec<_> = read.body.iter().map(|s| s.state()).collect();
    assert_eq!(states, [end, middle, middle]);
    // What was reviewed, a machine does not replace.
    let (candidate, outcome) = attach(&server, by_id("a", "en", 1, &[("s1", "uno")])).await;
    assert_eq!(
        (candidate.translation_id.as_str(), outcome),
        ("t2", AttachOutcome::Diverted)
    );
    // As it was, it can still be read.
    let time = provenance(&server, "", 0).await[1].time;
    let then = pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        at: time.map(pb::get_translation_request::At::AsOfTime),
        ..Default::default()
    };
    let then = client.get_translation(then).await.unwrap().into_inner();
    assert_eq!(then.translation.unwrap().summary, Some(partly));
    let before = server.export().await;
    let server = server.restart().await;
    assert_eq!(server.export().await, before);
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_kept_elsewhere_is_reviewed_and_acknowledged_as_a_whole() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    let address = pb::AttachTranslationRequest {
        content: Some(Content::ExternalUri("https://tms.example.com/7".into())),
        state: TranslationState::Initial.into(),
        ..small_form("a", "en", 1, &[""])
    };
    let (initial, _) = attach(&server, address.clone()).await;
    assert_eq!(initial.state(), TranslationState::Initial);
    let mut client = server.translations();
    let own = pb::ReviewTranslationRequest {
        agent: address.agent.clone(),
        ..review("", &initial.etag)
    };
    assert_eq!(
        illegal(client.review_translation(own).await).metadata["segment_ids"],
        ""
    );
    let named = pb::ReviewTranslationRequest {
        segment_ids: vec!["s1".into()],
        ..review("Leïla", &initial.etag)
    };
    blames(client.review_translation(named).await, &["segment_ids[0]"]);
    let read = reviewed(&server, review("Leïla", &initial.etag)).await;
    assert_eq!(read.state(), TranslationState::Reviewed);
    assert_eq!(read.origin_class(), OriginClass::MachineReviewed);
    rewrite(&server, "a", &TEXTS[..2]).await;
    assert_eq!(current(&server, "").await.freshness(), Freshness::Stale);
    // The machine that wrote the address cannot say that it still holds, now that a person stands for it.
    let again = pb::AttachTranslationRequest {
        source_revision: 2,
        ..address.clone()
    };
    assert_eq!(attach(&server, again).await.1, AttachOutcome::Diverted);
    let machine = pb::AcknowledgeSourceRequest {
        agent: address.agent,
        ..acknowledge("", &read.etag, 2)
    };
    fails(
        client.acknowledge_source(machine).await,
        Code::FailedPrecondition,
        "PERSON_REQUIRED",
    );
    let held = acknowledged(&server, acknowledge("Leïla", &read.etag, 2)).await;
    assert_eq!(held.freshness(), Freshness::Current);
    assert_eq!(held.state(), TranslationState::Reviewed);
    let before = server.export().await;
    let server = server.restart().await;
    assert_eq!(server.export().await, before);
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stale_paragraph_is_news_of_a_stale_translation() {
    let server = Server::memory().await;
    translated(&server).await;
    let mut french = small_form("a", "fr", 1, &["un", "deux", "trois"]);
    french.agent = person("Leïla");
    attach(&server, french).await;
    attach(&server, by_id("a", "de", 1, &[("s1", "eins")])).await;
    let two = format!("{} مساء", TEXTS[1]);
    let three = format!("{} أيضا", TEXTS[2]);
    let changed = async |texts: [&str; 3]| {
        let seq = server.seq().await;
        rewrite(&server, "a", &texts).await;
        let events = server.events_after(seq).await.into_iter();
        let languages = events.filter_map(|event| match event.kind {
            Kind::TranslationFreshnessChanged { .. } => event.language.map(|l| l.to_string()),
            _ => None,
        });
        languages.collect::<Vec<_>>()
    };
    // German has no text for these paragraphs: nothing changes for it.
    assert_eq!(changed([TEXTS[0], &two, TEXTS[2]]).await, ["en", "fr"]);
    assert_eq!(changed([TEXTS[0], &two, &three]).await, ["en", "fr"]);
    assert_eq!(changed([TEXTS[0], TEXTS[1], &three]).await, ["en", "fr"]);
    // Stale before and after, in the same paragraph: no news.
    assert_eq!(
        changed([TEXTS[0], TEXTS[1], &format!("{three} وغدا")]).await,
        Vec::<String>::new()
    );
    assert_eq!(changed(TEXTS).await, ["en", "fr"]);
}

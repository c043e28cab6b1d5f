//! The workflow over the wire: reviews, selections, rejections, acknowledgements, and the record that they leave.

use article_store::domain::change::Kind;
use article_store::domain::ids::TranslationId;
use article_store::pb;
use pb::attach_translation_request::Content;
use pb::{AgentKind, AttachOutcome, Disposition, Freshness, OriginClass, ProvenanceStep, TranslationState};
use prost::Message;
use tonic::{Code, Status};

use super::{agent, article, attach, by_id, create, rewrite, small_form, target, translation};
use crate::harness::{Failure, Server, blames, fails};

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
    // Again, under an etag that is long gone: nothing is to be done.
    let seq = server.seq().await;
    assert_eq!(reviewed(&server, part).await, whole);
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
async fn selection_supersedes_and_rejection_is_for_good() {
    let server = Server::sled().await;
    let first = translated(&server).await;
    let mut other = small_form("a", "en", 1, &["1", "2", "3"]);
    other.new_candidate = true;
    attach(&server, other.clone()).await;
    attach(&server, other).await;
    let mut client = server.translations();
    let seq = server.seq().await;
    let second = selected(&server, select("t2", &first.slot_etag)).await;
    assert_eq!(second.disposition(), Disposition::Active);
    assert_ne!(second.slot_etag, first.slot_etag);
    let superseded = current(&server, "t1").await;
    assert_eq!(superseded.disposition(), Disposition::Superseded);
    assert_eq!(superseded.etag, first.etag, "its own etag is of its text");
    assert_eq!(current(&server, "").await.translation_id, "t2");
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|e| e.kind)
        .collect();
    assert_eq!(kinds, [Kind::TranslationSelected(Some(TranslationId(2)))]);
    // The served one again: nothing to do, whatever the etag. Another one under a used-up etag: refused.
    let seq = server.seq().await;
    assert_eq!(selected(&server, select("t2", &first.slot_etag)).await, second);
    assert_eq!(server.seq().await, seq);
    let lost = fails(
        client.select_translation(select("t3", &first.slot_etag)).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert_eq!(lost.metadata["current_etag"], second.slot_etag);
    // Superseded ones are edited and selected again.
    let edit = pb::AttachTranslationRequest {
        translation_id: "t1".into(),
        ..by_id("a", "en", 1, &[("s1", "ONE")])
    };
    assert_eq!(attach(&server, edit.clone()).await.1, AttachOutcome::Updated);
    let back = selected(&server, select("t1", "")).await;
    assert_eq!(back.disposition(), Disposition::Active);
    assert_eq!(translation(&server, "a", "en", "").await.body[0].text, "ONE");
    // A candidate is turned down: what is served stays, and so does the etag of the selection.
    let turned_down = rejected(&server, reject("t3", "not our style")).await;
    assert_eq!(turned_down.disposition(), Disposition::Rejected);
    assert_eq!(turned_down.slot_etag, back.slot_etag);
    let seq = server.seq().await;
    assert_eq!(rejected(&server, reject("t3", "again")).await, turned_down);
    assert_eq!(server.seq().await, seq);
    // Then the served one, seen by its etag.
    let stale = pb::RejectTranslationRequest {
        etag: first.etag.clone(),
        ..reject("t1", "wrong")
    };
    fails(
        client.reject_translation(stale).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    let right = pb::RejectTranslationRequest {
        etag: back.etag.clone(),
        ..reject("t1", "wrong")
    };
    let gone = rejected(&server, right).await;
    assert_ne!(gone.slot_etag, back.slot_etag);
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|e| e.kind)
        .collect();
    let expected = [
        Kind::TranslationRejected(TranslationId(1)),
        Kind::TranslationSelected(None),
    ];
    assert_eq!(kinds, expected);
    let none = pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        ..Default::default()
    };
    fails(
        client.get_translation(none).await,
        Code::NotFound,
        "TRANSLATION_NOT_FOUND",
    );
    // It is listed and readable, and takes no step any more but the withdrawal.
    assert_eq!(translation(&server, "a", "en", "t1").await.body[0].text, "ONE");
    let seq = server.seq().await;
    let refused = illegal(client.select_translation(select("t1", "")).await);
    assert!(
        refused.message.contains("rejected for good"),
        "{}",
        refused.message
    );
    illegal(client.review_translation(review("Leïla", &gone.etag)).await);
    illegal(
        client
            .acknowledge_source(acknowledge("Leïla", &gone.etag, 1))
            .await,
    );
    illegal(client.attach_translation(edit).await);
    assert_eq!(server.seq().await, seq);
    let detach = |reason: &str| pb::DetachTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: "t1".into(),
        reason: reason.into(),
        ..Default::default()
    };
    client.detach_translation(detach("cleaning up")).await.unwrap();
    illegal(client.reject_translation(reject("t1", "x")).await);
    illegal(client.select_translation(select("t1", "")).await);
    // A superseded one can still be served, and the same text be attached anew.
    assert_eq!(
        selected(&server, select("t2", "")).await.disposition(),
        Disposition::Active
    );
    fails(
        client.select_translation(select("t9", "")).await,
        Code::NotFound,
        "TRANSLATION_NOT_FOUND",
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_holds_until_the_source_changes_again() {
    let server = Server::sled().await;
    translated(&server).await;
    let (by_leila, _) = attach(
        &server,
        by_person("Leïla", by_id("a", "en", 1, &[("s2", "Second")])),
    )
    .await;
    let mut client = server.translations();
    let texts = |two: &str, three: &str| [TEXTS[0].to_owned(), two.to_owned(), three.to_owned()];
    let (two, three) = (
        TEXTS[1].replace("الأربعاء", "الاربعاء"),
        TEXTS[2].replace("ثمانين", "تسعين"),
    );
    rewrite(&server, "a", &texts(&two, &three)).await;
    let stale = current(&server, "").await;
    assert_eq!(stale.stale_segment_ids, ["s2", "s3"]);
    let part = |name: &str| pb::AcknowledgeSourceRequest {
        segment_ids: vec!["s2".into()],
        ..acknowledge(name, &by_leila.etag, 2)
    };
    // No machine says so of a person's text; it may of its own.
    let machine = pb::AcknowledgeSourceRequest {
        agent: agent(AgentKind::Rule, "spelling"),
        ..part("")
    };
    let refused = fails(
        client.acknowledge_source(machine).await,
        Code::FailedPrecondition,
        "PERSON_REQUIRED",
    );
    assert_eq!(refused.metadata["segment_ids"], "s2");
    let seq = server.seq().await;
    let before = translation(&server, "a", "en", "").await;
    let held = acknowledged(&server, part("Omar")).await;
    assert_eq!(held.stale_segment_ids, ["s3"]);
    assert_eq!((held.state, held.disposition), (stale.state, stale.disposition));
    assert_eq!(held.origin_class, stale.origin_class);
    assert_eq!(held.source_revision, 2);
    let read = translation(&server, "a", "en", "").await;
    let words = |t: &pb::Translation| {
        let body = t.body.iter();
        body.map(|s| (s.text.clone(), s.state, s.writer))
            .collect::<Vec<_>>()
    };
    assert_eq!((words(&read), &read.agent), (words(&before), &before.agent));
    let revisions: Vec<_> = read.body.iter().map(|s| s.source_revision).collect();
    assert_eq!(revisions, [1, 2, 1]);
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|e| e.kind)
        .collect();
    assert_eq!(kinds, [Kind::TranslationAcknowledged(TranslationId(1))]);
    // Again it says nothing new.
    let seq = server.seq().await;
    assert_eq!(acknowledged(&server, part("Omar")).await, held);
    assert_eq!(server.seq().await, seq);
    let rule = pb::AcknowledgeSourceRequest {
        agent: agent(AgentKind::Rule, "spelling"),
        segment_ids: vec!["s3".into()],
        ..acknowledge("", &held.etag, 2)
    };
    assert_eq!(acknowledged(&server, rule).await.freshness(), Freshness::Current);
    // The next change makes it stale again, and going back to the first text too: that is not what was acknowledged.
    rewrite(&server, "a", &texts(&format!("{two} مساء"), &three)).await;
    assert_eq!(current(&server, "").await.stale_segment_ids, ["s2"]);
    rewrite(&server, "a", &texts(&two, &three)).await;
    assert_eq!(current(&server, "").await.freshness(), Freshness::Current);
    rewrite(&server, "a", &TEXTS).await;
    assert_eq!(current(&server, "").await.stale_segment_ids, ["s2", "s3"]);
    // What has left the source goes with the acknowledgement.
    let shorter = rewrite(&server, "a", &TEXTS[..2]).await.revision;
    let etag = current(&server, "").await.etag;
    let named = pb::AcknowledgeSourceRequest {
        segment_ids: vec!["s3".into(), "s9".into(), "s1".into()],
        ..acknowledge("Omar", &etag, shorter)
    };
    let unknown = blames(
        client.acknowledge_source(named.clone()).await,
        &["segment_ids[1]"],
    );
    assert!(unknown.fields[0].1.contains("no target"), "{unknown:?}");
    let gone = pb::AcknowledgeSourceRequest {
        segment_ids: vec!["s3".into()],
        ..named
    };
    blames(client.acknowledge_source(gone).await, &["segment_ids[0]"]);
    let all = acknowledged(&server, acknowledge("Omar", &etag, shorter)).await;
    assert_eq!(all.freshness(), Freshness::Current);
    assert_eq!(translation(&server, "a", "en", "").await.body.len(), 2);
    // It goes forward only, and to revisions that exist.
    let back = illegal(client.acknowledge_source(acknowledge("Omar", &all.etag, 2)).await);
    assert!(
        back.message.contains(&format!("revision {shorter}")),
        "{}",
        back.message
    );
    let missing = fails(
        client
            .acknowledge_source(acknowledge("Omar", &all.etag, 99))
            .await,
        Code::NotFound,
        "REVISION_NOT_FOUND",
    );
    assert_eq!(missing.metadata["head_revision"], shorter.to_string());
    fails(
        client
            .acknowledge_source(acknowledge("Omar", "1-0", shorter - 1))
            .await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
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
async fn provenance_has_every_field_of_every_step_and_comes_in_pages() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    let uuid = |last: u8| format!("0192d3c4-0000-7000-8000-0000000000{last:02x}");
    let full_agent = pb::Agent {
        kind: AgentKind::Llm.into(),
        person: "p".into(),
        organization: "o".into(),
        tool: "t".into(),
        engine: "e".into(),
        model: "m".into(),
        model_version: "v".into(),
        rev_person: "rp".into(),
        rev_organization: "ro".into(),
        rev_tool: "rt".into(),
        prompt_id: "pi".into(),
        glossary_id: "gi".into(),
        memory_id: "mi".into(),
    };
    let effort = pb::Effort {
        characters: 7,
        cost_micros: 8,
        currency: "EUR".into(),
        duration_ms: 9,
        match_quality: Some(100),
        pivot: "fr/t1".into(),
    };
    let first = pb::AttachTranslationRequest {
        agent: Some(full_agent.clone()),
        effort: Some(effort.clone()),
        request_id: uuid(1),
        ..small_form("a", "en", 1, &["one", "two", "three"])
    };
    let (created, _) = attach(&server, first).await;
    let part = pb::ReviewTranslationRequest {
        segment_ids: vec!["s2".into()],
        reason: "checked twice".into(),
        effort: Some(effort.clone()),
        request_id: uuid(2),
        ..review("Leïla", &created.etag)
    };
    let partly = reviewed(&server, part).await;
    let mut another = by_person("Omar", small_form("a", "en", 1, &["1", "2", "3"]));
    another.new_candidate = true;
    let (candidate, _) = attach(&server, another).await;
    let choice = pb::SelectTranslationRequest {
        agent: person("Nora"),
        reason: "reads better".into(),
        request_id: uuid(3),
        ..select("t2", "")
    };
    let chosen = selected(&server, choice).await;
    rewrite(&server, "a", &TEXTS[..2]).await;
    let claim = pb::AcknowledgeSourceRequest {
        request_id: uuid(4),
        ..acknowledge("Leïla", &partly.etag, 2)
    };
    let held = acknowledged(&server, claim).await;
    let refusal = pb::RejectTranslationRequest {
        agent: person("Nora"),
        request_id: uuid(5),
        ..reject("t2", "a libel")
    };
    let turned_down = rejected(&server, refusal).await;
    let gone = pb::DetachTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: "t2".into(),
        agent: person("Nora"),
        reason: "legal asked for it".into(),
        request_id: uuid(6),
        ..Default::default()
    };
    let answer = server.translations().detach_translation(gone).await.unwrap();
    let withdrawn = answer.into_inner().translation.unwrap();

    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let (set, translated) = (TranslationState::Reviewed, TranslationState::Translated);
    let expected = [
        pb::ProvenanceRecord {
            step: ProvenanceStep::Attached.into(),
            translation_id: "t1".into(),
            version: 1,
            etag: created.etag,
            agent: Some(full_agent),
            segment_ids: ids(&["title", "s1", "s2", "s3"]),
            source_revision: 1,
            state: translated.into(),
            effort: Some(effort.clone()),
            request_id: uuid(1),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Reviewed.into(),
            translation_id: "t1".into(),
            version: 2,
            etag: partly.etag,
            agent: person("Leïla"),
            segment_ids: ids(&["s2"]),
            source_revision: 1,
            state: set.into(),
            reason: "checked twice".into(),
            effort: Some(effort),
            request_id: uuid(2),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Attached.into(),
            translation_id: "t2".into(),
            version: 1,
            etag: candidate.etag,
            agent: person("Omar"),
            segment_ids: ids(&["title", "s1", "s2", "s3"]),
            source_revision: 1,
            state: translated.into(),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Selected.into(),
            translation_id: "t2".into(),
            replaced_translation_id: "t1".into(),
            etag: chosen.slot_etag,
            agent: person("Nora"),
            reason: "reads better".into(),
            request_id: uuid(3),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Acknowledged.into(),
            translation_id: "t1".into(),
            version: 3,
            etag: held.etag,
            agent: person("Leïla"),
            segment_ids: ids(&["title", "s1", "s2", "s3"]),
            source_revision: 2,
            reason: "only spelling".into(),
            request_id: uuid(4),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Rejected.into(),
            translation_id: "t2".into(),
            etag: turned_down.slot_etag,
            agent: person("Nora"),
            reason: "a libel".into(),
            request_id: uuid(5),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Detached.into(),
            translation_id: "t2".into(),
            etag: withdrawn.slot_etag,
            agent: person("Nora"),
            reason: "legal asked for it".into(),
            request_id: uuid(6),
            ..Default::default()
        },
    ];
    let all = provenance(&server, "", 0).await;
    let timeless: Vec<_> = all
        .iter()
        .map(|record| pb::ProvenanceRecord {
            time: None,
            ..record.clone()
        })
        .collect();
    assert_eq!(timeless, expected);
    let times: Vec<_> = all
        .iter()
        .map(|r| r.time.map(|t| (t.seconds, t.nanos)).unwrap())
        .collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    for size in 1..9 {
        assert_eq!(provenance(&server, "", size).await, all, "pages of {size}");
    }
    // Of one translation: what was done to it, and what replaced it.
    let of = |id: &str| {
        let concerns = |r: &&pb::ProvenanceRecord| r.translation_id == id || r.replaced_translation_id == id;
        all.iter().filter(concerns).cloned().collect::<Vec<_>>()
    };
    assert_eq!((of("t1").len(), of("t2").len()), (4, 4));
    for id in ["t1", "t2"] {
        assert_eq!(provenance(&server, id, 2).await, of(id));
    }
    let mut client = server.translations();
    let list = |id: &str, token: &str| pb::ListProvenanceRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: id.into(),
        page_size: 1,
        page_token: token.into(),
        show_hidden: false,
    };
    let token = client
        .list_provenance(list("", ""))
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    for (id, token) in [("t1", token.as_str()), ("", "x"), ("", &token[1..])] {
        fails(
            client.list_provenance(list(id, token)).await,
            Code::InvalidArgument,
            "BAD_TOKEN",
        );
    }
    for request in [
        list("t9", ""),
        pb::ListProvenanceRequest {
            language: "fr".into(),
            ..list("", "")
        },
    ] {
        fails(
            client.list_provenance(request).await,
            Code::NotFound,
            "TRANSLATION_NOT_FOUND",
        );
    }
    let server = server.restart().await;
    assert_eq!(provenance(&server, "", 3).await, all);
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_provenance_is_no_larger_than_clients_take() {
    let server = Server::memory().await;
    let texts: Vec<_> = (0..9_000).map(|number| format!("نص {number}")).collect();
    let mut long = article("a", &[]);
    long.body = super::body(&texts);
    create(&server, long).await;
    let whole = |version: u32| {
        let body = (0..9_000)
            .map(|number| target(&format!("{version} {number}")))
            .collect();
        let text = pb::TargetText {
            title: Some(target("title")),
            lead: None,
            body,
        };
        pb::AttachTranslationRequest {
            content: Some(Content::Text(text)),
            ..small_form("a", "en", 1, &[""])
        }
    };
    for version in 1..=26 {
        attach(&server, whole(version)).await;
    }
    let request = pb::ListProvenanceRequest {
        article_id: "a".into(),
        language: "en".into(),
        page_size: 500,
        ..Default::default()
    };
    let page = server
        .translations()
        .list_provenance(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!page.next_page_token.is_empty());
    assert!(page.encoded_len() < 4 << 20, "{} bytes", page.encoded_len());
    let versions: Vec<_> = provenance(&server, "", 500)
        .await
        .into_iter()
        .map(|r| r.version)
        .collect();
    assert_eq!(versions, (1..=26).collect::<Vec<_>>());
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

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_of_a_step_is_named_at_once() {
    let server = Server::memory().await;
    let summary = translated(&server).await;
    let before = server.export().await;
    let mut client = server.translations();
    let wrong = |path: &str| path.to_owned();
    let bad_agent = || {
        Some(pb::Agent {
            kind: 99,
            person: "\u{1}".into(),
            ..Default::default()
        })
    };
    let request = pb::ReviewTranslationRequest {
        article_id: "a/".into(),
        language: "x-".into(),
        translation_id: "t0".into(),
        etag: String::new(),
        segment_ids: ["s1", "s0", "x"].map(wrong).to_vec(),
        state: 0,
        reason: "x".repeat(1_025),
        agent: None,
        effort: Some(pb::Effort {
            match_quality: Some(101),
            ..Default::default()
        }),
        request_id: "x".into(),
    };
    let fields = [
        "request_id",
        "article_id",
        "language",
        "translation_id",
        "etag",
        "segment_ids[1]",
        "segment_ids[2]",
        "state",
        "agent",
        "reason",
    ];
    blames(client.review_translation(request).await, &fields);
    let request = pb::ReviewTranslationRequest {
        state: 99,
        agent: bad_agent(),
        effort: Some(pb::Effort {
            match_quality: Some(101),
            ..Default::default()
        }),
        ..review("", &"x".repeat(65))
    };
    blames(
        client.review_translation(request).await,
        &[
            "etag",
            "state",
            "agent.kind",
            "agent.person",
            "effort.match_quality",
        ],
    );
    let unknown = pb::ReviewTranslationRequest {
        segment_ids: ["s1", "lead", "s7"].map(wrong).to_vec(),
        ..review("Leïla", &summary.etag)
    };
    let unknown = blames(
        client.review_translation(unknown).await,
        &["segment_ids[1]", "segment_ids[2]"],
    );
    assert!(
        unknown.fields[1].1.contains("\"s7\" has no target"),
        "{unknown:?}"
    );
    let request = pb::AcknowledgeSourceRequest {
        article_id: String::new(),
        language: String::new(),
        translation_id: "1".into(),
        etag: String::new(),
        segment_ids: vec![String::new()],
        source_revision: 0,
        reason: " ".into(),
        agent: bad_agent(),
        request_id: "x".into(),
    };
    let fields = [
        "request_id",
        "article_id",
        "language",
        "translation_id",
        "etag",
        "segment_ids[0]",
        "source_revision",
        "reason",
        "agent.kind",
        "agent.person",
    ];
    blames(client.acknowledge_source(request).await, &fields);
    let request = pb::SelectTranslationRequest {
        article_id: "a/".into(),
        language: "x-".into(),
        translation_id: String::new(),
        slot_etag: "x".repeat(65),
        agent: bad_agent(),
        reason: "\u{7}".into(),
        request_id: "x".into(),
    };
    let fields = [
        "request_id",
        "translation_id",
        "article_id",
        "language",
        "slot_etag",
        "agent.kind",
        "agent.person",
        "reason",
    ];
    blames(client.select_translation(request).await, &fields);
    let request = pb::RejectTranslationRequest {
        article_id: "a/".into(),
        language: "x-".into(),
        translation_id: String::new(),
        etag: "x".repeat(65),
        reason: String::new(),
        agent: bad_agent(),
        request_id: "x".into(),
    };
    let fields = [
        "request_id",
        "translation_id",
        "article_id",
        "language",
        "etag",
        "reason",
        "agent.kind",
        "agent.person",
    ];
    blames(client.reject_translation(request).await, &fields);
    let request = pb::ListProvenanceRequest {
        article_id: "a/".into(),
        language: "x-".into(),
        translation_id: "t0".into(),
        page_size: -1,
        ..Default::default()
    };
    blames(
        client.list_provenance(request).await,
        &["page_size", "article_id", "language", "translation_id"],
    );
    assert_eq!(server.export().await, before);
}

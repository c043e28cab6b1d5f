//! Steps of the workflow that are refused.

use article_store::pb;

use super::{review, translated};
use crate::harness::{Server, blames};

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

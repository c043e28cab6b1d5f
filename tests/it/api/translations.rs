//! Translations: attached in every form, whose text may replace whose, and how they stand to their source.

use article_store::domain::change::Kind;
use article_store::pb;
use pb::attach_translation_request::Content;
use pb::{AgentKind, AttachOutcome, Disposition, Freshness, OriginClass, TranslationState};
use tonic::Code;

use super::workflow::reviewed;
use super::{
    agent, article, attach, body, by_id, create, rewrite, segment, small_form, target, target_of,
    translation, update_request,
};
use crate::harness::{Server, blames, fails};

mod candidates;
mod freshness;

fn texts(translation: &pb::Translation) -> Vec<&str> {
    translation
        .body
        .iter()
        .map(|segment| segment.text.as_str())
        .collect()
}

fn human(request: pb::AttachTranslationRequest) -> pb::AttachTranslationRequest {
    pb::AttachTranslationRequest {
        agent: agent(AgentKind::Human, "Leïla"),
        ..request
    }
}

async fn three(server: &Server) -> pb::Article {
    create(
        server,
        article("a", &["الفقرة الأولى", "ثم الثانية", "وأخيرا الثالثة"]),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_small_form_becomes_the_active_translation() {
    let server = Server::sled().await;
    three(&server).await;
    let request = small_form("a", "EN-gb", 1, &["one", "two", "three"]);
    let (summary, outcome) = attach(&server, request.clone()).await;
    assert_eq!(outcome, AttachOutcome::Created);
    assert_eq!(
        (summary.language.as_str(), summary.translation_id.as_str()),
        ("en-GB", "t1")
    );
    assert_eq!(summary.source_revision, 1);
    assert_eq!(summary.state(), TranslationState::Translated);
    assert_eq!(summary.freshness(), Freshness::Current);
    assert_eq!(summary.current_segments, 4);
    assert_eq!(summary.disposition(), Disposition::Active);
    assert_eq!(summary.origin_class(), OriginClass::MachineUnreviewed);
    let read = translation(&server, "a", "en-GB", "").await;
    assert_eq!(read.summary.as_ref(), Some(&summary));
    assert_eq!(texts(&read), ["one", "two", "three"]);
    assert_eq!(read.title.as_ref().unwrap().text, "title");
    assert_eq!(read.lead, None);
    assert_eq!(read.agent, request.agent);
    let ids: Vec<_> = read.body.iter().map(|s| s.segment_id.as_str()).collect();
    assert_eq!(ids, ["s1", "s2", "s3"]);
    for segment in &read.body {
        assert_eq!(segment.writer(), AgentKind::Mt);
        assert_eq!(segment.freshness(), Freshness::Current);
        assert_eq!(segment.state(), TranslationState::Translated);
        assert_eq!(segment.source_revision, 1);
    }
    // The article's etag and revision stand still; its summary is the translation's.
    let article = super::get(&server, "a").await;
    assert_eq!(article.revision, 1);
    assert_eq!(article.translations, std::slice::from_ref(&summary));
    // The same again is no write.
    let seq = server.seq().await;
    assert_eq!(
        attach(&server, request.clone()).await,
        (summary.clone(), AttachOutcome::Unchanged)
    );
    assert_eq!(server.seq().await, seq);
    // The same machine edits its translation.
    let (edited, outcome) = attach(&server, small_form("a", "en-GB", 1, &["one", "2", "three"])).await;
    assert_eq!(outcome, AttachOutcome::Updated);
    assert_eq!(edited.translation_id, "t1");
    assert_ne!(edited.etag, summary.etag);
    assert_eq!(edited.slot_etag, summary.slot_etag);
    assert_eq!(edited.create_time, summary.create_time);
    assert_ne!(edited.update_time, summary.update_time);
    assert_eq!(
        texts(&translation(&server, "a", "en-GB", "t1").await),
        ["one", "2", "three"]
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_id_writes_a_part_and_marks_are_kept() {
    let server = Server::memory().await;
    three(&server).await;
    let (partial, _) = attach(&server, by_id("a", "fr", 1, &[("s3", "trois"), ("s1", "un")])).await;
    assert_eq!(partial.freshness(), Freshness::Incomplete);
    assert_eq!(partial.missing_segment_ids, ["title", "s2"]);
    assert_eq!(partial.current_segments, 2);
    // The rest, with marks and a sub-state, and the title.
    let marked = pb::TargetSegment {
        spans: vec![pb::Span {
            start: 0,
            end: 4,
            mark: pb::SpanMark::Italic.into(),
            href: String::new(),
        }],
        sub_state: "x:checked".into(),
        ..target_of("s2", "deux")
    };
    let text = pb::TargetText {
        title: Some(target_of("title", "Titre")),
        lead: None,
        body: vec![marked.clone()],
    };
    let request = pb::AttachTranslationRequest {
        content: Some(Content::Text(text)),
        ..by_id("a", "fr", 1, &[])
    };
    let (whole, outcome) = attach(&server, request).await;
    assert_eq!(
        (whole.freshness(), outcome),
        (Freshness::Current, AttachOutcome::Updated)
    );
    let read = translation(&server, "a", "fr", "").await;
    assert_eq!(texts(&read), ["un", "deux", "trois"]);
    assert_eq!(read.body[1].spans, marked.spans);
    assert_eq!(read.body[1].sub_state, "x:checked");
    assert_eq!(read.title.unwrap().text, "Titre");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_revision_is_listed() {
    let server = Server::memory().await;
    three(&server).await;
    rewrite(&server, "a", &["الفقرة الأولى", "ثم الثانية"]).await;
    let before = server.export().await;
    let mut client = server.translations();
    let few = blames(
        client
            .attach_translation(small_form("a", "en", 1, &["one", "two"]))
            .await,
        &["text.body"],
    );
    for id in ["s1", "s2", "s3"] {
        assert!(few.fields[0].1.contains(id), "{few:?}");
    }
    blames(
        client
            .attach_translation(small_form("a", "en", 2, &["one", "two", "three"]))
            .await,
        &["text.body"],
    );
    blames(
        client
            .attach_translation(small_form("a", "en", 2, &["", " \n"]))
            .await,
        &["text.body[0].text", "text.body[1].text"],
    );
    blames(
        client
            .attach_translation(by_id(
                "a",
                "en",
                2,
                &[("s1", "one"), ("s3", "three"), ("s9", "nine"), ("s1", "1")],
            ))
            .await,
        &[
            "text.body[1].segment_id",
            "text.body[2].segment_id",
            "text.body[3].segment_id",
        ],
    );
    blames(
        client
            .attach_translation(by_id("a", "en", 2, &[("s1", "one"), ("", "two")]))
            .await,
        &["text.body"],
    );
    let with_lead = pb::TargetText {
        lead: Some(target("lead")),
        ..Default::default()
    };
    let request = pb::AttachTranslationRequest {
        content: Some(Content::Text(with_lead)),
        ..by_id("a", "en", 2, &[])
    };
    blames(client.attach_translation(request).await, &["text.lead"]);
    blames(
        client.attach_translation(by_id("a", "en", 2, &[])).await,
        &["text"],
    );
    // An unknown revision names the newest.
    let unknown = fails(
        client
            .attach_translation(small_form("a", "en", 7, &["one"]))
            .await,
        Code::NotFound,
        "REVISION_NOT_FOUND",
    );
    assert_eq!(unknown.metadata["head_revision"], "2");
    assert_eq!(unknown.metadata["revision"], "7");
    // No revision is no guess.
    let guess = blames(
        client
            .attach_translation(small_form("a", "en", 0, &["one", "two"]))
            .await,
        &["source_revision"],
    );
    assert!(guess.fields[0].1.contains("required"), "{guess:?}");
    blames(
        client
            .attach_translation(small_form("a", "ar", 2, &["one", "two"]))
            .await,
        &["language"],
    );
    fails(
        client
            .attach_translation(small_form("b", "en", 1, &["one"]))
            .await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    assert_eq!(server.export().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_of_an_attach_is_named_at_once() {
    let server = Server::memory().await;
    three(&server).await;
    let mut client = server.translations();
    let request = pb::AttachTranslationRequest {
        article_id: "a/b".into(),
        language: "x-".into(),
        source_revision: 0,
        content: None,
        translation_id: "7".into(),
        new_candidate: true,
        agent: None,
        state: 99,
        quality_scores: vec![pb::QualityScore {
            value: f64::NAN,
            min: 0.0,
            max: 1.0,
            ..Default::default()
        }],
        etag: "x".repeat(65),
        overwrite_human: true,
        slot_etag: String::new(),
        effort: Some(pb::Effort {
            cost_micros: 1,
            currency: "euro".into(),
            match_quality: Some(101),
            ..Default::default()
        }),
        request_id: String::new(),
    };
    let refused = blames(
        client.attach_translation(request.clone()).await,
        &[
            "article_id",
            "language",
            "source_revision",
            "content",
            "translation_id",
            "agent",
            "state",
            "quality_scores[0].metric",
            "quality_scores[0].value",
            "etag",
            "slot_etag",
        ],
    );
    assert!(refused.message.contains("article_id"), "{}", refused.message);
    let effort = pb::AttachTranslationRequest {
        effort: request.effort,
        ..small_form("a", "en", 1, &["1", "2", "3"])
    };
    blames(
        client.attach_translation(effort).await,
        &["effort.currency", "effort.match_quality"],
    );
    for (kind, field) in [(0, "agent.kind"), (99, "agent.kind")] {
        let mut request = small_form("a", "en", 1, &["1", "2", "3"]);
        request.agent.as_mut().unwrap().kind = kind;
        blames(client.attach_translation(request).await, &[field]);
    }
    for uri in [
        "",
        "no uri",
        "/relative",
        &format!("https://h/{}", "x".repeat(2_048)),
        "x:\u{0}",
    ] {
        let request = pb::AttachTranslationRequest {
            content: Some(Content::ExternalUri(uri.into())),
            ..small_form("a", "en", 1, &[""])
        };
        blames(client.attach_translation(request).await, &["external_uri"]);
    }
    let both = pb::AttachTranslationRequest {
        translation_id: "t1".into(),
        new_candidate: true,
        ..small_form("a", "en", 1, &["1", "2", "3"])
    };
    blames(client.attach_translation(both).await, &["new_candidate"]);
    let etag_of_none = pb::AttachTranslationRequest {
        etag: "1-0".into(),
        new_candidate: true,
        ..small_form("a", "en", 1, &["1", "2", "3"])
    };
    blames(client.attach_translation(etag_of_none).await, &["etag"]);
    let stray = pb::AttachTranslationRequest {
        quality_scores: vec![pb::QualityScore {
            metric: "COMET".into(),
            value: 0.5,
            max: 1.0,
            segment_id: "s2".into(),
            ..Default::default()
        }],
        ..by_id("a", "en", 1, &[("s1", "one")])
    };
    blames(
        client.attach_translation(stray).await,
        &["quality_scores[0].segment_id"],
    );
    assert_eq!(server.seq().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn states_of_an_author_end_at_translated_and_those_of_a_reviewer_do_not() {
    let server = Server::memory().await;
    three(&server).await;
    let with = |state: TranslationState, text: &str| pb::AttachTranslationRequest {
        state: state.into(),
        ..small_form("a", "en", 1, &[text, "two", "three"])
    };
    let (initial, _) = attach(&server, with(TranslationState::Initial, "one")).await;
    assert_eq!(initial.state(), TranslationState::Initial);
    let (risen, outcome) = attach(&server, with(TranslationState::Translated, "one")).await;
    assert_eq!(
        (risen.state(), outcome),
        (TranslationState::Translated, AttachOutcome::Updated)
    );
    // The same text again does not lower it; another text is where it is said to be.
    let (same, outcome) = attach(&server, with(TranslationState::Initial, "one")).await;
    assert_eq!(
        (same.state(), outcome),
        (TranslationState::Translated, AttachOutcome::Unchanged)
    );
    for state in [TranslationState::Reviewed, TranslationState::Final] {
        // The author, and another who changes the text on the way.
        for request in [with(state, "one"), human(with(state, "One"))] {
            let refused = fails(
                server.translations().attach_translation(request).await,
                Code::FailedPrecondition,
                "ILLEGAL_TRANSITION",
            );
            assert!(refused.message.contains("another person"), "{}", refused.message);
            assert_eq!(refused.metadata["translation_id"], "t1");
            assert!(refused.metadata["segment_ids"].contains("s1"), "{refused:?}");
        }
    }
    // Another who sends the very text is a reviewer.
    let (reviewed, outcome) = attach(&server, human(with(TranslationState::Reviewed, "one"))).await;
    assert_eq!(
        (reviewed.state(), reviewed.origin_class(), outcome),
        (
            TranslationState::Reviewed,
            OriginClass::MachineReviewed,
            AttachOutcome::Updated
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn origin_agents_scores_and_provenance_are_kept() {
    let server = Server::sled().await;
    three(&server).await;
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
    let score = |segment: &str, value| pb::QualityScore {
        metric: "COMET".into(),
        metric_version: "22".into(),
        model: "wmt22".into(),
        value,
        min: 0.0,
        max: 1.0,
        higher_is_better: true,
        segment_id: segment.into(),
        reference_kind: "NONE".into(),
        scorer: "s".into(),
        ..Default::default()
    };
    let request = pb::AttachTranslationRequest {
        agent: Some(full_agent.clone()),
        quality_scores: vec![score("", 0.9), score("s2", 0.5)],
        effort: Some(pb::Effort {
            characters: 7,
            cost_micros: 8,
            currency: "EUR".into(),
            duration_ms: 9,
            match_quality: Some(100),
            pivot: "fr/t1".into(),
        }),
        ..small_form("a", "en", 1, &["one", "two", "three"])
    };
    attach(&server, request).await;
    let read = translation(&server, "a", "en", "").await;
    assert_eq!(read.agent.as_ref(), Some(&full_agent));
    assert_eq!(read.quality_scores.len(), 2);
    assert!(
        read.quality_scores
            .iter()
            .all(|s| !s.outdated && s.create_time.is_some())
    );
    // A person who confirms the text word for word does not become its author.
    let (confirmed, _) = attach(&server, human(small_form("a", "en", 1, &["one", "two", "three"]))).await;
    assert_eq!(confirmed.origin_class(), OriginClass::MachineUnreviewed);
    let (edited, _) = attach(
        &server,
        human(by_id("a", "en", 1, &[("s1", "The first"), ("s2", "The second")])),
    )
    .await;
    assert_eq!(edited.origin_class(), OriginClass::Mixed);
    let read = translation(&server, "a", "en", "").await;
    let outdated: Vec<_> = read.quality_scores.iter().map(|s| s.outdated).collect();
    assert_eq!(outdated, [true, true], "the texts that were scored are gone");
    let all = pb::AttachTranslationRequest {
        content: Some(Content::Text(pb::TargetText {
            title: Some(target("A title")),
            lead: None,
            body: vec![target("1"), target("2"), target("3")],
        })),
        ..human(small_form("a", "en", 1, &[""]))
    };
    assert_eq!(
        attach(&server, all).await.0.origin_class(),
        OriginClass::MachinePostedited
    );
    let server = server.restart().await;
    assert_eq!(
        translation(&server, "a", "en", "")
            .await
            .summary
            .unwrap()
            .origin_class(),
        OriginClass::MachinePostedited
    );
    let mut imported = small_form("a", "fr", 1, &["un", "deux", "trois"]);
    imported.agent = agent(AgentKind::Import, "");
    assert_eq!(
        attach(&server, imported).await.0.origin_class(),
        OriginClass::Unknown
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_article_does_not_take_the_language_of_its_translation() {
    let server = Server::memory().await;
    create(&server, article("a", &["one"])).await;
    attach(&server, small_form("a", "en", 1, &["eins"])).await;
    let mut english = article("a", &["one"]);
    english.language = "en".into();
    blames(
        server
            .articles()
            .update_article(update_request(english, &["language"]))
            .await,
        &["article.language"],
    );
}

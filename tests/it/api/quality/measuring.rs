//! What the store measures itself.

use article_store::pb::Freshness;
use article_store::pb::attach_translation_request::Content;

use super::*;
use crate::harness::shared_lines;

#[tokio::test(flavor = "multi_thread")]
async fn a_translation_is_measured_against_the_text_that_it_was_made_from() {
    let server = Server::memory().await;
    let mut source = article(
        "a",
        &[
            "دفع {name} مبلغ ١٬٢٥٠ دولارا في 5 مايو",
            "BBC",
            "https://example.com",
            "وأخيرا",
        ],
    );
    source.body[2].translate = Some(false);
    create(&server, source).await;
    let first = small_form(
        "a",
        "en",
        1,
        &[
            "On 6 May {nom} paid $1,250",
            "BBC",
            "https://example.com",
            "Finally",
        ],
    );
    attach(&server, first).await;
    let human = pb::AttachTranslationRequest {
        agent: agent(AgentKind::Human, "Omar"),
        new_candidate: true,
        ..small_form(
            "a",
            "en",
            1,
            &[
                "{name} paid $1,250 on 5 May",
                "BBC",
                "https://example.com",
                "Finally",
            ],
        )
    };
    attach(&server, human).await;
    let seq = server.seq().await;
    let answer = measure(&server, measuring("", "t2")).await;
    let ids: Vec<_> = answer.segments.iter().map(|s| s.segment_id.as_str()).collect();
    assert_eq!(
        ids,
        ["title", "s1", "s2", "s4"],
        "what is not to be translated is left out"
    );
    let differences = |missing: &[&str], added: &[&str]| {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Some(pb::Differences {
            missing: texts(missing),
            added: texts(added),
        })
    };
    assert_eq!(answer.segments[1].numbers, differences(&["5"], &["6"]));
    assert_eq!(
        answer.segments[1].placeholders,
        differences(&["{name}"], &["{nom}"])
    );
    assert!(
        answer.segments[1]
            .chrf
            .is_some_and(|chrf| chrf > 30.0 && chrf < 100.0)
    );
    let quiet = pb::SegmentMeasures {
        segment_id: "s2".into(),
        source_revision: 1,
        code_points: 3,
        unmodified_machine: true,
        chrf: Some(100.0),
        equals_source: true,
        ..Default::default()
    };
    assert_eq!(answer.segments[2], quiet);
    assert_eq!(
        answer.chrf_signature,
        "nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no"
    );
    assert_eq!(
        (
            answer.translation.as_ref().unwrap().translation_id.as_str(),
            answer.reference.unwrap().translation_id.as_str()
        ),
        ("t1", "t2")
    );
    let share = answer.machine_share.unwrap();
    assert_eq!(
        (share.all, share.segment_ratio, share.code_point_ratio),
        (share.unmodified, 1.0, 1.0)
    );
    assert_eq!(
        share.all,
        Some(pb::TextAmount {
            segments: 4,
            code_points: 41
        })
    );
    // A person changes one segment; the source of another one moves on.
    let edit = pb::AttachTranslationRequest {
        agent: agent(AgentKind::Human, "Omar"),
        ..by_id("a", "en", 1, &[("s4", "Lastly")])
    };
    attach(&server, edit).await;
    let mut revised = body(&[
        "دفع {name} مبلغ ١٬٢٥٠ دولارا في 6 مايو",
        "BBC",
        "https://example.com",
        "وأخيرا",
    ]);
    revised[2].translate = Some(false);
    let revised = pb::Article {
        article_id: "a".into(),
        body: revised,
        ..Default::default()
    };
    super::super::update(&server, revised, &["body"]).await;
    let again = measure(&server, measuring("t1", "t2")).await;
    assert_eq!(again.translation.as_ref().unwrap().freshness(), Freshness::Stale);
    assert_eq!(
        again.segments[1], answer.segments[1],
        "the old target is held against the old source"
    );
    assert_eq!(again.segments[2].source_revision, 2);
    assert!(!again.segments[3].unmodified_machine);
    let share = again.machine_share.unwrap();
    assert_eq!(
        (share.segment_ratio, share.unmodified.unwrap().code_points),
        (0.75, 34)
    );
    let alone = measure(&server, measuring("t2", "")).await;
    assert_eq!(
        (alone.chrf, alone.chrf_signature.as_str(), alone.reference),
        (None, "", None)
    );
    assert!(
        alone
            .segments
            .iter()
            .all(|s| s.numbers.is_none() && s.placeholders.is_none() && !s.unmodified_machine)
    );
    assert_eq!(server.seq().await, seq + 2, "measuring stores nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_measured_is_refused() {
    let server = Server::memory().await;
    translated(&server).await;
    let mut client = server.translations();
    blames(
        client.measure_translation(measuring("x", "y")).await,
        &["translation_id", "reference_translation_id"],
    );
    blames(
        client.measure_translation(measuring("", "t1")).await,
        &["reference_translation_id"],
    );
    let missing = fails(
        client.measure_translation(measuring("t1", "t7")).await,
        Code::NotFound,
        "TRANSLATION_NOT_FOUND",
    );
    assert_eq!(missing.metadata["translation_id"], "t7");
    let address = pb::AttachTranslationRequest {
        content: Some(Content::ExternalUri("https://tms.example.com/job/7".into())),
        new_candidate: true,
        ..small_form("a", "en", 1, &[""])
    };
    attach(&server, address).await;
    for request in [measuring("t2", ""), measuring("t1", "t2")] {
        let refused = fails(
            client.measure_translation(request).await,
            Code::FailedPrecondition,
            "TRANSLATION_WITHOUT_TEXT",
        );
        assert_eq!(refused.metadata["translation_id"], "t2");
    }
    // A score of the whole is all that an address can have.
    let of_address = |scores: &[pb::QualityScore]| pb::AddQualityScoresRequest {
        translation_id: "t2".into(),
        ..evidence(scores, &[])
    };
    blames(
        client.add_quality_scores(of_address(&[score("s1", 0.5)])).await,
        &["quality_scores[0].segment_id"],
    );
    assert!(add(&server, of_address(&[score("", 0.5)])).await.added);
    let long = "كلمة 12 ".repeat(40_000);
    rewrite(&server, "a", &[&long]).await;
    let long = pb::AttachTranslationRequest {
        new_candidate: true,
        ..small_form("a", "en", 2, &["word 12 ".repeat(40_000)])
    };
    attach(&server, long).await;
    let refused = fails(
        client.measure_translation(measuring("t3", "")).await,
        Code::FailedPrecondition,
        "TOO_LARGE_TO_MEASURE",
    );
    assert_eq!(
        (
            refused.metadata["code_points"].as_str(),
            refused.metadata["limit_code_points"].as_str()
        ),
        ("640010", "500000")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chrf_of_a_stored_document_is_that_of_sacrebleu() {
    let Some(lines) = shared_lines("ntrex-news.jsonl.xz") else {
        return;
    };
    let expected: serde_json::Value =
        serde_json::from_str(include_str!("../../quality/expected.json")).unwrap();
    let expected = &expected["documents"][0];
    let document: serde_json::Value = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|document: &serde_json::Value| document["id"] == expected[0])
        .unwrap();
    let texts = |value: &serde_json::Value| -> Vec<String> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    let source = texts(&document["segments"]);
    let article = pb::Article {
        article_id: "a".into(),
        language: "en".into(),
        title: Some(segment(&source[0])),
        body: body(&source[1..]),
        ..Default::default()
    };
    let server = Server::memory().await;
    create(&server, article).await;
    for column in [1, 2] {
        let texts = texts(&document["translations"][expected[column].as_str().unwrap()]);
        let text = pb::TargetText {
            title: Some(target(&texts[0])),
            lead: None,
            body: texts[1..].iter().map(|text| target(text)).collect(),
        };
        let request = pb::AttachTranslationRequest {
            content: Some(Content::Text(text)),
            new_candidate: true,
            ..small_form("a", "fr", 1, &[""])
        };
        attach(&server, request).await;
    }
    let request = pb::MeasureTranslationRequest {
        language: "fr".into(),
        ..measuring("t1", "t2")
    };
    let answer = measure(&server, request).await;
    assert_eq!(answer.segments.len(), source.len());
    let (score, wanted) = (answer.chrf.unwrap(), expected[3].as_f64().unwrap());
    assert!((score - wanted).abs() < 1e-9, "{score} instead of {wanted}");
}

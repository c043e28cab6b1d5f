//! Evidence that is refused, and the largest that is not.

use article_store::pb;
use pb::IssueSide;
use tonic::Code;

use super::{add, evidence, issue, score, translated};
use crate::api::{attach, by_id, time, translation};
use crate::harness::{Server, blames, fails};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_evidence_is_named_field_by_field() {
    let server = Server::memory().await;
    translated(&server).await;
    let mut client = server.translations();
    let wrong = pb::AddQualityScoresRequest {
        article_id: "a/b".into(),
        language: "x-".into(),
        agent: None,
        translation_id: String::new(),
        etag: "x".repeat(65),
        ..evidence(
            &[pb::QualityScore {
                metric: String::new(),
                value: 2.0,
                ..score("9", 0.0)
            }],
            &[
                pb::QualityIssue {
                    dimension: String::new(),
                    severity: 0,
                    side: 99,
                    comment: "x".repeat(1_025),
                    annotator: "\u{7}".into(),
                    ..issue("s0", IssueSide::Target, Some((3, 2)))
                },
                pb::QualityIssue {
                    start: Some(1),
                    severity: 99,
                    ..issue("s1", IssueSide::Target, None)
                },
                pb::QualityIssue {
                    end: Some(1),
                    ..issue("s1", IssueSide::Target, None)
                },
                issue("", IssueSide::Source, Some((0, 1))),
            ],
        )
    };
    blames(
        client.add_quality_scores(wrong).await,
        &[
            "translation_id",
            "article_id",
            "language",
            "quality_scores[0].metric",
            "quality_scores[0].value",
            "quality_scores[0].segment_id",
            "quality_issues[0].dimension",
            "quality_issues[0].severity",
            "quality_issues[0].side",
            "quality_issues[0].segment_id",
            "quality_issues[0].end",
            "quality_issues[0].comment",
            "quality_issues[0].annotator",
            "quality_issues[1].severity",
            "quality_issues[1].end",
            "quality_issues[2].start",
            "quality_issues[3].segment_id",
            "agent",
            "etag",
        ],
    );
    blames(
        client.add_quality_scores(evidence(&[], &[])).await,
        &["quality_scores"],
    );
    let many = (
        vec![score("", 0.5); 1_001],
        vec![issue("", IssueSide::Target, None); 1_001],
    );
    blames(
        client.add_quality_scores(evidence(&many.0, &many.1)).await,
        &["quality_scores", "quality_issues"],
    );
    // What only the texts can tell.
    let misfits = evidence(
        &[score("s1", 0.5), score("lead", 0.5)],
        &[
            issue("s1", IssueSide::Target, Some((0, 12))),
            issue("s2", IssueSide::Source, Some((0, 11))),
            issue("s9", IssueSide::Target, None),
        ],
    );
    let refused = blames(
        client.add_quality_scores(misfits).await,
        &[
            "quality_scores[1].segment_id",
            "quality_issues[0].end",
            "quality_issues[1].end",
            "quality_issues[2].segment_id",
        ],
    );
    assert_eq!(
        refused.fields[1].1,
        "12 is beyond the 11 code points of the target text"
    );
    assert_eq!(
        refused.fields[2].1,
        "11 is beyond the 10 code points of the source text"
    );
    for (request, reason) in [
        (
            pb::AddQualityScoresRequest {
                article_id: "b".into(),
                ..evidence(&[score("", 0.5)], &[])
            },
            "ARTICLE_NOT_FOUND",
        ),
        (
            pb::AddQualityScoresRequest {
                language: "fr".into(),
                ..evidence(&[score("", 0.5)], &[])
            },
            "TRANSLATION_NOT_FOUND",
        ),
        (
            pb::AddQualityScoresRequest {
                translation_id: "t2".into(),
                ..evidence(&[score("", 0.5)], &[])
            },
            "TRANSLATION_NOT_FOUND",
        ),
    ] {
        fails(client.add_quality_scores(request).await, Code::NotFound, reason);
    }
    let delete = pb::DeleteArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    server.articles().delete_article(delete).await.unwrap();
    let deleted = client.add_quality_scores(evidence(&[score("", 0.5)], &[])).await;
    fails(deleted, Code::FailedPrecondition, "ARTICLE_DELETED");
    assert_eq!(server.seq().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_translation_carries_a_megabyte_of_evidence_about_its_texts() {
    let server = Server::memory().await;
    translated(&server).await;
    let large = |number: usize| pb::QualityIssue {
        comment: format!("{number:0>1024}"),
        ..issue("s1", IssueSide::Target, None)
    };
    let issues: Vec<_> = (0..850).map(large).collect();
    add(&server, evidence(&[], &issues)).await;
    let mut client = server.translations();
    let more: Vec<_> = (850..1_000).map(large).collect();
    let full = fails(
        client.add_quality_scores(evidence(&[], &more)).await,
        Code::ResourceExhausted,
        "TOO_MUCH_EVIDENCE",
    );
    assert_eq!(
        (full.metadata["limit_bytes"].as_str(), full.retry),
        ("1048576", false)
    );
    // Once the text is another one, the old evidence makes room, and stays where it was.
    let then = server.newest_commit().await;
    attach(&server, by_id("a", "en", 1, &[("s1", "uno")])).await;
    assert_eq!(
        translation(&server, "a", "en", "t1").await.quality_issues.len(),
        850
    );
    add(&server, evidence(&[], &more)).await;
    assert_eq!(
        translation(&server, "a", "en", "t1").await.quality_issues.len(),
        150
    );
    let then = pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: "t1".into(),
        at: Some(pb::get_translation_request::At::AsOfTime(time(then))),
        show_hidden: false,
        evidence_only: false,
    };
    let then = client
        .get_translation(then)
        .await
        .unwrap()
        .into_inner()
        .translation
        .unwrap();
    assert_eq!(then.quality_issues.len(), 850);
    // Scores that come with a text are limited alike.
    let verbose = pb::QualityScore {
        scorer: "x".repeat(1_024),
        model: "y".repeat(1_024),
        ..score("s1", 0.5)
    };
    let attached = pb::AttachTranslationRequest {
        quality_scores: vec![verbose; 500],
        ..by_id("a", "fr", 1, &[("s1", "un")])
    };
    fails(
        client.attach_translation(attached).await,
        Code::ResourceExhausted,
        "TOO_MUCH_EVIDENCE",
    );
}

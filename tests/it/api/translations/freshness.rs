//! Whether a translation still holds.

use super::*;
use crate::api::update;
use crate::api::workflow::review;

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_as_current_as_the_whole_source() {
    let server = Server::memory().await;
    three(&server).await;
    let uri = pb::AttachTranslationRequest {
        content: Some(Content::ExternalUri("https://tms.example.com/job/7".into())),
        ..human(small_form("a", "en", 1, &[""]))
    };
    let (summary, outcome) = attach(&server, uri.clone()).await;
    assert_eq!(outcome, AttachOutcome::Created);
    assert_eq!(summary.external_uri, "https://tms.example.com/job/7");
    assert_eq!(summary.freshness(), Freshness::Current);
    assert_eq!(summary.origin_class(), OriginClass::Human);
    assert_eq!(attach(&server, uri).await.1, AttachOutcome::Unchanged);
    rewrite(&server, "a", &["الفقرة الأولى", "ثم الثانية"]).await;
    let stale = translation(&server, "a", "en", "").await;
    assert_eq!(stale.summary.as_ref().unwrap().freshness(), Freshness::Stale);
    assert_eq!(stale.summary.unwrap().stale_since_revision, 2);
    assert_eq!(stale.external_uri, "https://tms.example.com/job/7");
    let section = pb::Article {
        article_id: "a".into(),
        section: "x".into(),
        ..Default::default()
    };
    update(&server, section, &[]).await;
    rewrite(&server, "a", &["الفقرة الأولى", "ثم الثانية", "وأخيرا الثالثة"]).await;
    let healed = translation(&server, "a", "en", "").await.summary.unwrap();
    assert_eq!(healed.freshness(), Freshness::Current);
    // A machine's text does not replace a person's translation that is kept elsewhere.
    let (machine, outcome) = attach(&server, small_form("a", "en", 1, &["one", "two", "three"])).await;
    assert_eq!(
        (machine.translation_id.as_str(), outcome),
        ("t2", AttachOutcome::Diverted)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn freshness_follows_the_source_segment_by_segment() {
    let server = Server::memory().await;
    let [one, two, three] = [
        "أعلنت وزارة الخارجية الأمريكية أن الوزير لن يحضر المؤتمر",
        "وقال المتحدث باسم الوزارة إن الفحص جاء إيجابيا يوم الأربعاء",
        "ويشارك في المؤتمر وزراء من أكثر من ثمانين دولة",
    ];
    let mut source = article("a", &[one, two, three]);
    source.lead = Some(segment("المقدمة"));
    create(&server, source).await;
    let mut request = small_form("a", "en", 1, &["one", "two", "three"]);
    if let Some(Content::Text(text)) = &mut request.content {
        text.lead = Some(target("lead"));
    }
    attach(&server, request).await;
    let edited = two.replace("الأربعاء", "الخميس");
    let significant = pb::UpdateArticleRequest {
        significance: pb::Significance::Major.into(),
        ..super::update_request(
            pb::Article {
                article_id: "a".into(),
                body: body(&[one, &edited, three]),
                ..Default::default()
            },
            &["body"],
        )
    };
    let seq = server.seq().await;
    server.articles().update_article(significant).await.unwrap();
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert!(
        matches!(
            kinds[..],
            [Kind::ArticleRevised, Kind::TranslationFreshnessChanged { .. }]
        ),
        "{kinds:?}"
    );
    let read = translation(&server, "a", "en", "").await;
    let summary = read.summary.clone().unwrap();
    assert_eq!(summary.freshness(), Freshness::Stale);
    assert_eq!(summary.stale_segment_ids, ["s2"]);
    assert_eq!(summary.current_segments, 4);
    assert_eq!(summary.stale_since_revision, 2);
    assert_eq!(summary.stale_significance(), pb::Significance::Major);
    let of_segments: Vec<_> = read.body.iter().map(|s| s.freshness()).collect();
    assert_eq!(
        of_segments,
        [Freshness::Current, Freshness::Stale, Freshness::Current]
    );
    assert_eq!(
        texts(&read),
        ["one", "two", "three"],
        "the old text stays readable"
    );
    let freshness = || async { translation(&server, "a", "en", "").await.summary.unwrap() };
    rewrite(&server, "a", &[one, three]).await;
    let orphaned = freshness().await;
    assert_eq!(
        (orphaned.freshness(), orphaned.orphaned_segment_ids),
        (Freshness::Orphaned, vec!["s2".into()])
    );
    rewrite(&server, "a", &[three, one, two]).await;
    let moved = freshness().await;
    assert_eq!(
        (moved.freshness(), moved.moved_segment_ids),
        (Freshness::Moved, vec!["s3".into()])
    );
    rewrite(&server, "a", &[one, two, three, "خبر جديد"]).await;
    let missing = freshness().await;
    assert_eq!(
        (missing.freshness(), missing.missing_segment_ids),
        (Freshness::Incomplete, vec!["s4".into()])
    );
    // White space and normal form are no change for a translator; marks and bidi controls are.
    rewrite(&server, "a", &[&one.replace(' ', "  "), two, three]).await;
    assert_eq!(freshness().await.freshness(), Freshness::Current);
    rewrite(&server, "a", &[&format!("\u{200F}{one}"), two, three]).await;
    assert_eq!(freshness().await.stale_segment_ids, ["s1"]);
    rewrite(&server, "a", &[one, two, three]).await;
    assert_eq!(freshness().await.freshness(), Freshness::Current);
    // An attach at the new revision binds to it and drops what is gone.
    rewrite(&server, "a", &[one, "خبر جديد"]).await;
    let head = super::super::get(&server, "a").await.revision;
    let (part, _) = attach(&server, by_id("a", "en", head, &[("s4", "news")])).await;
    assert_eq!(part.freshness(), Freshness::Current);
    assert_eq!(part.source_revision, head);
    let read = translation(&server, "a", "en", "").await;
    assert_eq!(texts(&read), ["one", "news"]);
    assert_eq!(read.body[0].source_revision, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_text_for_a_new_source_is_current_again() {
    let server = Server::memory().await;
    let [old, new] = [
        "ويشارك في المؤتمر وزراء من أكثر من ثمانين دولة",
        "ويشارك في المؤتمر وزراء من أكثر من تسعين دولة",
    ];
    create(&server, article("a", &[old])).await;
    attach(&server, human(small_form("a", "en", 1, &["many countries"]))).await;
    rewrite(&server, "a", &[new]).await;
    let stale = translation(&server, "a", "en", "").await;
    assert_eq!(stale.summary.unwrap().stale_segment_ids, ["s1"]);
    // A machine cannot confirm it in the person's place.
    let (machine, outcome) = attach(&server, by_id("a", "en", 2, &[("s1", "many countries")])).await;
    assert_eq!(
        (machine.translation_id.as_str(), outcome),
        ("t2", AttachOutcome::Diverted)
    );
    let (confirmed, outcome) = attach(&server, human(by_id("a", "en", 2, &[("s1", "many countries")]))).await;
    assert_eq!(
        (confirmed.translation_id.as_str(), outcome),
        ("t1", AttachOutcome::Updated)
    );
    assert_eq!(confirmed.freshness(), Freshness::Current);
    assert_eq!(confirmed.origin_class(), OriginClass::Human);
    // And the old source makes it stale.
    rewrite(&server, "a", &[old]).await;
    let back = translation(&server, "a", "en", "").await;
    assert_eq!(back.summary.unwrap().stale_segment_ids, ["s1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn untranslatable_segments_need_no_target() {
    let server = Server::memory().await;
    let mut source = article("a", &["نص", "1234"]);
    source.body[1].translate = Some(false);
    create(&server, source).await;
    let (summary, _) = attach(&server, small_form("a", "en", 1, &["text", ""])).await;
    assert_eq!(summary.freshness(), Freshness::Current);
    let mut source = article("a", &["نص", "5678"]);
    source.body[1].translate = Some(false);
    update(&server, source, &["body"]).await;
    let read = translation(&server, "a", "en", "").await;
    assert_eq!(texts(&read), ["text"]);
    assert_eq!(read.summary.unwrap().freshness(), Freshness::Current);
}

#[tokio::test(flavor = "multi_thread")]
async fn untranslatable_segments_do_not_hold_back_the_state() {
    let server = Server::sled().await;
    let mut source = article("a", &["نص", "1234"]);
    source.body[1].translate = Some(false);
    create(&server, source).await;
    let (attached, _) = attach(&server, small_form("a", "en", 1, &["text", "1234"])).await;
    let what_is_to_be_read = pb::ReviewTranslationRequest {
        segment_ids: vec!["title".into(), "s1".into()],
        ..review("Omar", &attached.etag)
    };
    let reviewed = reviewed(&server, what_is_to_be_read).await;
    assert_eq!(reviewed.state(), TranslationState::Reviewed);
    let server = server.restart().await;
    let read = translation(&server, "a", "en", "").await;
    assert_eq!(read.body[1].state(), TranslationState::Translated);
    assert_eq!(read.summary.unwrap().state(), TranslationState::Reviewed);
    server.check().await;
}

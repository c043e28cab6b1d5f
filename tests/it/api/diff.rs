//! Comparisons of revisions: paragraphs, words in code points, significance, pages.

use article_store::domain::access::Right;
use article_store::pb;
use prost::Message;
use tonic::Code;

use super::*;
use crate::harness::{Setup, blames, fails};

fn diff_request(id: &str, from: u32, to: u32) -> pb::DiffRevisionsRequest {
    pb::DiffRevisionsRequest {
        article_id: id.into(),
        from_revision: from,
        to_revision: to,
        ..Default::default()
    }
}

async fn diff(server: &Server, request: pb::DiffRevisionsRequest) -> pb::DiffRevisionsResponse {
    server
        .articles()
        .diff_revisions(request)
        .await
        .unwrap()
        .into_inner()
}

/// A paragraph, what became of it, and the words that differ.
type Said<'a> = (&'a str, pb::SegmentChange, Vec<(String, String)>);

/// What an answer says.
fn said(answer: &pb::DiffRevisionsResponse) -> Vec<Said<'_>> {
    let cut = |text: &str, start: u32, end: u32| {
        let text: Vec<char> = text.chars().collect();
        text[start as usize..end as usize].iter().collect::<String>()
    };
    let words = |segment: &pb::SegmentDiff| {
        let changes = segment.text_changes.iter();
        changes
            .map(|c| {
                (
                    cut(&segment.old_text, c.old_start, c.old_end),
                    cut(&segment.new_text, c.new_start, c.new_end),
                )
            })
            .collect()
    };
    let segments = answer.segments.iter();
    segments
        .map(|segment| (segment.segment_id.as_str(), segment.change(), words(segment)))
        .collect()
}

fn pair(old: &str, new: &str) -> (String, String) {
    (old.into(), new.into())
}

const FIRST: [&str; 5] = [
    "أعلنت وزارة الخارجية 😀 اليوم عن زيارة رسمية تستمر 3 أيام",
    "وقال المتحدث باسم الوزارة إن الزيارة تأتي في وقت مهم",
    "وأضاف أن الوفد سيلتقي عددا من المسؤولين في العاصمة",
    "يذكر أن آخر زيارة كانت قبل عام كامل من اليوم",
    "المصدر: وكالات الأنباء",
];

#[tokio::test(flavor = "multi_thread")]
async fn paragraphs_and_words_that_differ_are_named() {
    use pb::SegmentChange::{Added, Changed, Moved, Removed, Unchanged};
    let server = Server::memory().await;
    create(&server, article("a", &FIRST)).await;
    let second = [
        FIRST[4],
        "أعلنت وزارة الخارجية 😀 أمس عن زيارة رسمية تستمر 4 أيام",
        "فقرة جديدة لا تشبه شيئا مما سبقها في النص",
        FIRST[2],
        FIRST[3],
    ];
    rewrite(&server, "a", &second).await;
    let answer = diff(&server, diff_request("a", 1, 2)).await;
    assert_eq!((answer.from_revision, answer.to_revision), (1, 2));
    assert_eq!(
        said(&answer),
        [
            ("title", Unchanged, vec![]),
            ("s5", Moved, vec![]),
            ("s1", Changed, vec![pair("اليوم", "أمس"), pair("3", "4")]),
            ("s6", Added, vec![]),
            ("s2", Removed, vec![]),
            ("s3", Unchanged, vec![]),
            ("s4", Unchanged, vec![]),
        ]
    );
    assert_eq!(answer.significance(), pb::Significance::Major);
    assert!(answer.significance_proposed);
    let texts: Vec<_> = answer
        .segments
        .iter()
        .map(|s| (s.old_text.as_str(), s.new_text.as_str()))
        .collect();
    assert_eq!(texts[0], ("", ""));
    assert_eq!(texts[1], (FIRST[4], FIRST[4]));
    assert_eq!(texts[3], ("", second[2]));
    assert_eq!(texts[4], (FIRST[1], ""));
    assert_eq!((texts[5], answer.segments[5].moved), (("", ""), false));
    // 0 is the newest, and either may be the older one.
    assert_eq!(diff(&server, diff_request("a", 1, 0)).await, answer);
    let back = diff(&server, diff_request("a", 2, 1)).await;
    let fates: Vec<_> = said(&back)
        .into_iter()
        .map(|(id, change, _)| (id, change))
        .collect();
    assert_eq!(
        fates,
        [
            ("title", Unchanged),
            ("s1", Changed),
            ("s2", Added),
            ("s6", Removed),
            ("s3", Unchanged),
            ("s4", Unchanged),
            ("s5", Moved),
        ]
    );
    let none = diff(&server, diff_request("a", 2, 2)).await;
    assert!(none.segments.iter().all(|segment| segment.change() == Unchanged));
    assert_eq!(none.significance(), pb::Significance::Unspecified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_significance_is_the_callers_or_proposed_and_said_wherever_revisions_are() {
    let server = Server::sled().await;
    create(&server, article("a", &FIRST)).await;
    attach(&server, small_form("a", "fr", 1, &["1", "2", "3", "4", "5"])).await;
    // Harakat only.
    let mut texts = FIRST.map(str::to_owned);
    texts[4] = "المصدر: وكالاتُ الأنباء".into();
    rewrite(&server, "a", &texts).await;
    let stale = translation(&server, "a", "fr", "").await.summary.unwrap();
    assert_eq!(stale.stale_significance(), pb::Significance::Typo);
    texts[4] = "المصدر: وكالاتُ الصحافة".into();
    rewrite(&server, "a", &texts).await;
    texts[4] = "المصدر: وكالات الصحف".into();
    let given = pb::UpdateArticleRequest {
        significance: pb::Significance::Correction.into(),
        ..update_request(
            pb::Article {
                article_id: "a".into(),
                body: body(&texts),
                ..Default::default()
            },
            &["body"],
        )
    };
    server.articles().update_article(given).await.unwrap();
    texts[1] = "وقال المتحدث باسم الوزارة إن الزيارة لن تأتي في وقت مهم".into();
    rewrite(&server, "a", &texts).await;
    let server = server.restart().await;
    let request = pb::ListRevisionsRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    let listed = server
        .articles()
        .list_revisions(request)
        .await
        .unwrap()
        .into_inner();
    let said: Vec<_> = listed
        .revisions
        .iter()
        .map(|revision| (revision.significance(), revision.significance_proposed))
        .collect();
    assert_eq!(
        said,
        [
            (pb::Significance::Major, true),
            (pb::Significance::Correction, false),
            (pb::Significance::Minor, true),
            (pb::Significance::Typo, true),
            (pb::Significance::Unspecified, false),
        ]
    );
    for (from, to, significance, proposed) in [
        (1, 2, pb::Significance::Typo, true),
        (1, 3, pb::Significance::Minor, true),
        (3, 1, pb::Significance::Minor, true),
        (1, 5, pb::Significance::Correction, false),
        (4, 5, pb::Significance::Major, true),
    ] {
        let answer = diff(&server, diff_request("a", from, to)).await;
        assert_eq!(
            (answer.significance(), answer.significance_proposed),
            (significance, proposed),
            "{from} to {to}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_named() {
    let server = Setup::sled().scopes(&[Right::Editorial]).start().await;
    create(&server, article("a", &FIRST)).await;
    create(&server, article("b", &FIRST)).await;
    let mut client = server.articles();
    let wrong = diff_request("a/", 0, 0);
    blames(
        client.diff_revisions(wrong).await,
        &["article_id", "from_revision"],
    );
    for (from, to, missing) in [(1, 2, "2"), (7, 0, "7")] {
        let answer = client.diff_revisions(diff_request("a", from, to)).await;
        let failure = fails(answer, Code::NotFound, "REVISION_NOT_FOUND");
        assert_eq!(failure.metadata["revision"], missing);
    }
    fails(
        client.diff_revisions(diff_request("none", 1, 0)).await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let withhold = pb::SetPublicationStatusRequest {
        article_id: "b".into(),
        publication_status: pb::PublicationStatus::Withheld.into(),
        ..Default::default()
    };
    client.set_publication_status(withhold).await.unwrap();
    fails(
        client.diff_revisions(diff_request("b", 1, 1)).await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let hidden = pb::DiffRevisionsRequest {
        show_hidden: true,
        ..diff_request("b", 1, 1)
    };
    diff(&server, hidden.clone()).await;
    let server = server.restart_with(|setup| setup.scopes(&[])).await;
    fails(
        server.articles().diff_revisions(hidden).await,
        Code::PermissionDenied,
        "MISSING_SCOPE",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_comparisons_come_in_pages_that_every_client_reads() {
    let server = Server::memory().await;
    let text = |number: usize, word: &str| format!("{number} {} {word}", "كلمة أخرى ".repeat(500));
    let texts = |word: &str| (0..200).map(|number| text(number, word)).collect::<Vec<_>>();
    let old = texts("قديمة");
    let first: Vec<_> = old.iter().map(String::as_str).collect();
    create(&server, article("a", &first)).await;
    rewrite(&server, "a", &texts("جديدة")).await;
    let mut request = diff_request("a", 1, 0);
    let mut pages = 0;
    let mut ids = Vec::new();
    loop {
        let page = diff(&server, request.clone()).await;
        assert!(page.encoded_len() <= 3 << 20, "{}", page.encoded_len());
        assert_eq!(page.to_revision, 2);
        for segment in page
            .segments
            .iter()
            .filter(|segment| segment.segment_id != "title")
        {
            assert_eq!(segment.text_changes.len(), 1);
            assert!(segment.old_text.ends_with("قديمة") && segment.new_text.ends_with("جديدة"));
        }
        ids.extend(page.segments.into_iter().map(|segment| segment.segment_id));
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        // The newest revision of the first page goes on being meant.
        rewrite(&server, "a", &[format!("{pages}")]).await;
        let other = pb::DiffRevisionsRequest {
            from_revision: 2,
            ..request.clone()
        };
        fails(
            server.articles().diff_revisions(other).await,
            Code::InvalidArgument,
            "BAD_TOKEN",
        );
    }
    assert!(pages > 1);
    let expected: Vec<_> = (1..=200).map(|number| format!("s{number}")).collect();
    assert_eq!(ids[0], "title");
    assert_eq!(ids[1..], expected);

    // One paragraph that no answer has room for.
    let huge = |word: &str| format!("{word} {}", "نص ".repeat(200_000));
    create(&server, article("b", &[&huge("أول")])).await;
    update(
        &server,
        pb::Article {
            article_id: "b".into(),
            body: vec![pb::Segment {
                segment_id: "s1".into(),
                ..segment(&huge("آخر"))
            }],
            ..Default::default()
        },
        &["body"],
    )
    .await;
    let page = diff(&server, diff_request("b", 1, 0)).await;
    let paragraph = &page.segments[1];
    assert_eq!(paragraph.change(), pb::SegmentChange::Changed);
    assert!(paragraph.texts_omitted && paragraph.old_text.is_empty() && paragraph.new_text.is_empty());
    let change = pb::TextChange {
        old_start: 0,
        old_end: 3,
        new_start: 0,
        new_end: 3,
    };
    assert_eq!(paragraph.text_changes, [change]);
}

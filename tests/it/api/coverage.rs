//! Coverage: what is counted by day, month and language, and that pages and lists agree with it.

use std::collections::BTreeMap;

use article_store::pb;
use pb::{AgentKind, CoveragePeriod, OriginClass, TranslationState};
use tonic::Code;

use super::{agent, article, attach, by_id, create, rewrite, small_form};
use crate::harness::{Server, blames, fails};

fn published(id: &str, instant: &str) -> pb::Article {
    let instant: jiff::Timestamp = instant.parse().unwrap();
    let date = pb::ArticleDate {
        instant: Some(prost_types::Timestamp {
            seconds: instant.as_second(),
            nanos: 0,
        }),
        precision: pb::DatePrecision::Second.into(),
        ..pb::ArticleDate::default()
    };
    pb::Article {
        published: Some(date),
        ..article(id, &["one", "the second paragraph"])
    }
}

async fn coverage(
    server: &Server,
    request: pb::GetCoverageRequest,
) -> BTreeMap<(String, String), pb::CoverageBucket> {
    let answer = server.admin().get_coverage(request).await.unwrap().into_inner();
    assert_eq!(answer.next_page_token, "");
    let key = |bucket: &pb::CoverageBucket| (bucket.start_date.clone(), bucket.language.clone());
    answer
        .buckets
        .into_iter()
        .map(|bucket| (key(&bucket), bucket))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn articles_are_counted_by_day_month_and_language() {
    let server = Server::sled().await;
    for (id, instant) in [
        ("none", "2022-05-10T22:45:00Z"),
        ("done", "2022-05-10T23:30:00Z"),
        ("stale", "2022-05-11T08:00:00Z"),
        ("part", "2022-06-01T00:00:00Z"),
    ] {
        create(&server, published(id, instant)).await;
    }
    create(&server, article("undated", &["one"])).await;
    create(
        &server,
        pb::Article {
            language: "fr".into(),
            ..published("french", "2022-05-10T10:00:00Z")
        },
    )
    .await;
    for id in ["done", "stale"] {
        attach(&server, small_form(id, "fr", 1, &["un", "deux"])).await;
    }
    let human = pb::AttachTranslationRequest {
        agent: agent(AgentKind::Human, "Leïla"),
        ..by_id("part", "fr", 1, &[("s1", "un")])
    };
    attach(&server, human).await;
    rewrite(&server, "stale", &["one", "the other paragraph"]).await;
    let day = |zone: &str| pb::GetCoverageRequest {
        civil_range: Some(pb::CivilRange {
            zone: zone.into(),
            ..pb::CivilRange::default()
        }),
        ..pb::GetCoverageRequest::default()
    };
    let counts = |buckets: &BTreeMap<(String, String), pb::CoverageBucket>| {
        let count = |((day, _), b): (&(String, String), &pb::CoverageBucket)| {
            (
                day.clone(),
                [b.articles, b.missing, b.incomplete, b.stale, b.current],
            )
        };
        buckets.iter().map(count).collect::<Vec<_>>()
    };
    let of = |day: &str, counts: [u64; 5]| (day.to_owned(), counts);
    let in_utc = coverage(&server, day("")).await;
    assert_eq!(
        counts(&in_utc),
        [
            of("", [1, 1, 0, 0, 0]),
            of("2022-05-10", [2, 1, 0, 0, 1]),
            of("2022-05-11", [1, 0, 0, 1, 0]),
            of("2022-06-01", [1, 0, 1, 0, 0]),
        ]
    );
    let bucket = &in_utc[&("2022-06-01".to_owned(), "fr".to_owned())];
    assert_eq!(bucket.by_origin[0].origin_class(), OriginClass::Human);
    assert_eq!(
        (bucket.by_state[0].state(), bucket.by_state[0].articles),
        (TranslationState::Translated, 1)
    );
    let in_tokyo = pb::GetCoverageRequest {
        period: CoveragePeriod::Month.into(),
        ..day("Asia/Tokyo")
    };
    assert_eq!(
        counts(&coverage(&server, in_tokyo).await),
        [
            of("", [1, 1, 0, 0, 0]),
            of("2022-05-01", [3, 1, 0, 1, 1]),
            of("2022-06-01", [1, 0, 1, 0, 0]),
        ]
    );
    // A language without any translation is counted when it is asked for, and the range cuts.
    let german = pb::GetCoverageRequest {
        languages: vec!["de".into()],
        civil_range: Some(pb::CivilRange {
            start_date: "2022-05-11".into(),
            end_date: "2022-06-01".into(),
            zone: String::new(),
        }),
        ..pb::GetCoverageRequest::default()
    };
    assert_eq!(
        counts(&coverage(&server, german).await),
        [of("2022-05-11", [1, 1, 0, 0, 0])]
    );
    // What is hidden does not count.
    let hide = |publication_status: pb::PublicationStatus| pb::SetPublicationStatusRequest {
        article_id: "done".into(),
        publication_status: publication_status.into(),
        ..pb::SetPublicationStatusRequest::default()
    };
    let mut articles = server.articles();
    articles
        .set_publication_status(hide(pb::PublicationStatus::Withheld))
        .await
        .unwrap();
    assert_eq!(
        counts(&coverage(&server, day("")).await)[1],
        of("2022-05-10", [1, 1, 0, 0, 0])
    );
    let hidden = pb::GetCoverageRequest {
        show_hidden: true,
        ..day("")
    };
    fails(
        server.admin().get_coverage(hidden).await,
        Code::PermissionDenied,
        "MISSING_SCOPE",
    );
    articles
        .set_publication_status(hide(pb::PublicationStatus::Usable))
        .await
        .unwrap();
    assert_eq!(coverage(&server, day("")).await, in_utc);
    let wrong = pb::GetCoverageRequest {
        axis: 7,
        period: 9,
        languages: vec!["x-".into()],
        civil_range: Some(pb::CivilRange {
            start_date: "yesterday".into(),
            end_date: String::new(),
            zone: "Mars".into(),
        }),
        ..pb::GetCoverageRequest::default()
    };
    let fields = [
        "period",
        "languages[0]",
        "axis",
        "civil_range.start_date",
        "civil_range.zone",
    ];
    blames(server.admin().get_coverage(wrong).await, &fields);
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_coverage_add_up() {
    let server = Server::memory().await;
    let articles = 4_500;
    let creations = (0..articles).map(|number| create(&server, article(&format!("a{number}"), &["one"])));
    let mut creations = creations.collect::<Vec<_>>();
    while !creations.is_empty() {
        let rest = creations.split_off(creations.len().min(64));
        futures::future::join_all(creations).await;
        creations = rest;
    }
    // So many languages that a call looks at few articles.
    let languages: Vec<String> = (b'a'..=b'z')
        .map(|letter| format!("fr-x-{}", letter as char))
        .collect();
    let languages: Vec<String> = languages
        .iter()
        .chain(&["de".to_owned()])
        .cloned()
        .chain(["it".into()])
        .collect();
    let mut request = pb::GetCoverageRequest {
        languages: languages
            .into_iter()
            .chain((0..20).map(|n| format!("es-x-n{n}")))
            .collect(),
        ..pb::GetCoverageRequest::default()
    };
    let (mut counted, mut pages) = (0, 0);
    loop {
        let page = server
            .admin()
            .get_coverage(request.clone())
            .await
            .unwrap()
            .into_inner();
        counted += page
            .buckets
            .iter()
            .filter(|b| b.language == "de")
            .map(|b| b.missing)
            .sum::<u64>();
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!((counted, pages), (articles, 3));
    let other = pb::GetCoverageRequest {
        section: "sport".into(),
        page_token: "AQ".into(),
        ..request
    };
    assert_eq!(
        server.admin().get_coverage(other).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

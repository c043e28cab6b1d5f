//! What is wrong with reads and their tokens.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn reads_name_what_is_wrong_with_them() {
    let (server, before) = furnished().await;
    let mut client = server.articles();
    let mut translations = server.translations();
    let many = pb::BatchGetArticlesRequest {
        article_ids: vec!["a".into(); 1_001],
        ..Default::default()
    };
    let refused = blames(client.batch_get_articles(many).await, &["article_ids"]);
    assert!(refused.fields[0].1.contains("1001") && refused.fields[0].1.contains("1000"));
    let some = pb::BatchGetArticlesRequest {
        article_ids: vec!["a".into(), "b/".into(), String::new()],
        view: 99,
        ..Default::default()
    };
    blames(
        client.batch_get_articles(some).await,
        &["view", "article_ids[1]", "article_ids[2]"],
    );
    let get = pb::GetArticleRequest {
        article_id: "a/".into(),
        view: 99,
        at: Some(pb::get_article_request::At::AsOfTime(YEAR_44798)),
        ..Default::default()
    };
    blames(
        client.get_article(get).await,
        &["article_id", "view", "as_of_time"],
    );
    let lookup = pb::LookupArticleRequest {
        view: 99,
        alias: Some(pb::lookup_article_request::Alias::CanonicalUrl("/x".into())),
        ..Default::default()
    };
    blames(client.lookup_article(lookup).await, &["view", "canonical_url"]);
    let list = pb::ListArticlesRequest {
        axis: 99,
        order: 99,
        dating: 99,
        language: "x-".into(),
        view: 99,
        page_size: -1,
        range: Some(pb::list_articles_request::Range::CivilRange(pb::CivilRange {
            start_date: "2022-02-30".into(),
            end_date: "10/05/2022".into(),
            zone: "Mars/Olympus".into(),
        })),
        ..Default::default()
    };
    blames(
        client.list_articles(list).await,
        &[
            "page_size",
            "view",
            "axis",
            "order",
            "civil_range.start_date",
            "civil_range.end_date",
            "civil_range.zone",
            "dating",
            "language",
        ],
    );
    let instants = |start: Option<Timestamp>, end: Option<Timestamp>| pb::ListArticlesRequest {
        range: Some(pb::list_articles_request::Range::TimeRange(pb::TimeRange {
            start_time: start,
            end_time: end,
        })),
        ..Default::default()
    };
    let second = |seconds| Some(Timestamp { seconds, nanos: 0 });
    blames(
        client
            .list_articles(instants(Some(YEAR_44798), Some(YEAR_44798)))
            .await,
        &["time_range.start_time", "time_range.end_time"],
    );
    for (start, end) in [(5, 5), (6, 5)] {
        let refused = blames(
            client.list_articles(instants(second(start), second(end))).await,
            &["time_range"],
        );
        assert!(refused.fields[0].1.contains("not after"), "{refused:?}");
    }
    for (start, end) in [("2022-05-10", "2022-05-10"), ("2022-05-11", "2022-05-10")] {
        let civil = pb::ListArticlesRequest {
            range: Some(pb::list_articles_request::Range::CivilRange(pb::CivilRange {
                start_date: start.into(),
                end_date: end.into(),
                zone: String::new(),
            })),
            ..Default::default()
        };
        blames(client.list_articles(civil).await, &["civil_range"]);
    }
    for dating in [pb::Dating::Undated, pb::Dating::Future] {
        let both = pb::ListArticlesRequest {
            dating: dating.into(),
            ..instants(second(1), second(2))
        };
        blames(client.list_articles(both).await, &["dating"]);
    }
    let revisions = pb::ListRevisionsRequest {
        article_id: String::new(),
        page_size: i32::MIN,
        ..Default::default()
    };
    blames(
        client.list_revisions(revisions).await,
        &["page_size", "article_id"],
    );
    let get = pb::GetTranslationRequest {
        show_hidden: false,
        article_id: "a/".into(),
        language: "x-".into(),
        translation_id: "t0".into(),
        at: Some(pb::get_translation_request::At::AsOfTime(YEAR_44798)),
        evidence_only: false,
    };
    blames(
        translations.get_translation(get).await,
        &["article_id", "language", "translation_id", "as_of_time"],
    );
    let list = pb::ListTranslationsRequest {
        article_id: "a/".into(),
        language: "x-".into(),
        as_of_time: Some(YEAR_44798),
        page_size: -5,
        ..Default::default()
    };
    blames(
        translations.list_translations(list).await,
        &["page_size", "article_id", "language", "as_of_time"],
    );
    let detach = pb::DetachTranslationRequest {
        article_id: "a/".into(),
        language: "x-".into(),
        etag: "x".repeat(65),
        request_id: "x".into(),
        ..Default::default()
    };
    blames(
        translations.detach_translation(detach).await,
        &["request_id", "translation_id", "article_id", "language", "etag"],
    );
    let delete = pb::DeleteArticleRequest {
        article_id: "a/".into(),
        etag: "x".repeat(65),
        request_id: "x".into(),
    };
    blames(
        client.delete_article(delete).await,
        &["request_id", "etag", "article_id"],
    );
    let update = pb::UpdateArticleRequest {
        significance: 99,
        etag: "x".repeat(65),
        request_id: "x".into(),
        ..update_request(article("a/", &["\u{0}"]), &["body", "x"])
    };
    blames(
        client.update_article(update).await,
        &[
            "request_id",
            "etag",
            "significance",
            "article.article_id",
            "update_mask.paths[1]",
            "article.body[0].text",
        ],
    );
    let mut create = create_request(article("a/", &["نص"]));
    create.request_id = "x".into();
    blames(
        client.create_article(create).await,
        &["request_id", "article.article_id"],
    );
    assert_eq!(server.export().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_tokens_are_refused() {
    let (server, _) = furnished().await;
    for number in 0..3 {
        create(&server, article(&format!("n{number}"), &["نص"])).await;
    }
    let mut client = server.articles();
    let list = |page_token: &str| pb::ListArticlesRequest {
        page_size: 2,
        page_token: page_token.into(),
        ..Default::default()
    };
    let token = client
        .list_articles(list(""))
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    let mut damaged: Vec<String> = (1..token.len()).map(|end| token[..end].to_owned()).collect();
    damaged.extend(
        [
            "x",
            "%%%",
            "AAAA",
            "AQ",
            "\u{0}",
            "خبر",
            &format!("{token}=="),
            &format!("{token}x/"),
        ]
        .map(str::to_owned),
    );
    damaged.push("A".repeat(100_000));
    for damaged in &damaged {
        let refused = fails(
            client.list_articles(list(damaged)).await,
            Code::InvalidArgument,
            "BAD_TOKEN",
        );
        assert_eq!(refused.paths(), ["page_token"]);
    }
    for token in [token.as_str(), "x", "%%%"] {
        let revisions = pb::ListRevisionsRequest {
            article_id: "a".into(),
            page_token: token.into(),
            ..Default::default()
        };
        fails(
            client.list_revisions(revisions).await,
            Code::InvalidArgument,
            "BAD_TOKEN",
        );
        let translations = pb::ListTranslationsRequest {
            article_id: "a".into(),
            page_token: token.into(),
            ..Default::default()
        };
        fails(
            server.translations().list_translations(translations).await,
            Code::InvalidArgument,
            "BAD_TOKEN",
        );
        let export = pb::ExportArticlesRequest {
            resume_token: token.into(),
            ..Default::default()
        };
        let Err(status) = client.export_articles(export).await else {
            panic!("{token}")
        };
        let refused = failure(&status);
        assert_eq!(
            (refused.reason.as_str(), refused.paths()),
            ("BAD_TOKEN", vec!["resume_token"])
        );
    }
}

//! What an article is known by: aliases, revisions, and the ids of its segments.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn segments_keep_their_ids_over_revisions() {
    let server = Server::memory().await;
    let [one, two, three] = [
        "أعلنت وزارة الخارجية الأمريكية أن الوزير لن يحضر المؤتمر",
        "وقال المتحدث باسم الوزارة إن الفحص جاء إيجابيا يوم الأربعاء",
        "ويشارك في المؤتمر وزراء من أكثر من ثمانين دولة",
    ];
    create(&server, article("a", &[one, two, three])).await;
    let edited = two.replace("الأربعاء", "الخميس");
    let steps: [(&[&str], &[&str]); 8] = [
        (&[one, &edited, three], &["s1", "s2", "s3"]),
        (&["خبر", one, &edited, three], &["s4", "s1", "s2", "s3"]),
        (&[three, one, &edited], &["s3", "s1", "s2"]),
        (&[one, three], &["s1", "s3"]),
        // Back after it was gone, also in its first form.
        (&[one, two, three], &["s1", "s2", "s3"]),
        (&["جديد كليا"], &["s5"]),
        (&["خبر", one, &edited, three], &["s4", "s1", "s2", "s3"]),
        (&[one, one, one], &["s1", "s6", "s7"]),
    ];
    for (number, (texts, expected)) in (2..).zip(steps) {
        let revised = rewrite(&server, "a", texts).await;
        assert_eq!(ids(&revised), expected, "revision {number}");
        assert_eq!(revised.revision, number);
    }
    // By id a text may change as a whole; ids that never were are refused, each by its path.
    let named = |ids: &[(&str, &str)]| {
        let body = ids
            .iter()
            .map(|(id, text)| pb::Segment {
                segment_id: (*id).into(),
                ..segment(text)
            })
            .collect();
        pb::Article {
            article_id: "a".into(),
            body,
            ..Default::default()
        }
    };
    let revised = update(
        &server,
        named(&[("s6", "نص آخر"), ("", "جديد"), ("s2", "نص")]),
        &["body"],
    )
    .await;
    assert_eq!(ids(&revised), ["s6", "s8", "s2"]);
    let mut client = server.articles();
    let wrong = named(&[("s1", "نص"), ("s99", "نص"), ("s1", "نص"), ("title", "نص")]);
    blames(
        client.update_article(update_request(wrong, &["body"])).await,
        &[
            "article.body[1].segment_id",
            "article.body[2].segment_id",
            "article.body[3].segment_id",
        ],
    );
    for id in ["x", "s0", "s01", "S1", "s 1"] {
        blames(
            client
                .update_article(update_request(named(&[(id, "نص")]), &["body"]))
                .await,
            &["article.body[0].segment_id"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_has_one_holder_and_is_never_given_up() {
    let server = Server::sled().await;
    let mut client = server.articles();
    let url = "https://example.com/ar/%D8%AE%D8%A8%D8%B1/1";
    let mut first = article("a", &["نص"]);
    first.canonical_url = "https://example.com/ar/خبر/1?utm_medium=rss#c".into();
    first.guid = "g1".into();
    first.publisher = "p".into();
    assert_eq!(create(&server, first.clone()).await.canonical_url, url);
    let lookup = |alias| pb::LookupArticleRequest {
        alias: Some(alias),
        ..Default::default()
    };
    use pb::lookup_article_request::Alias;
    for spelling in [
        "https://example.com/ar/خبر/1",
        "HTTPS://Example.COM:443/ar/%d8%ae%D8%A8ر/1",
        "https://user:pw@example.com/x/../ar/خبر/1?fbclid=2",
    ] {
        let found = client
            .lookup_article(lookup(Alias::CanonicalUrl(spelling.into())))
            .await;
        assert_eq!(
            found.unwrap().into_inner().article.unwrap().article_id,
            "a",
            "{spelling}"
        );
    }
    // Another article cannot have them, by creation or by update, and is not touched by the attempt.
    let mut second = article("b", &["نص"]);
    second.canonical_url = url.into();
    let request = pb::CreateArticleRequest {
        article: Some(second.clone()),
        ..Default::default()
    };
    let taken = fails(
        client.create_article(request).await,
        Code::AlreadyExists,
        "ALIAS_TAKEN",
    );
    assert_eq!(taken.metadata["holder_article_id"], "a");
    assert!(taken.metadata["alias"].contains(url), "{taken:?}");
    create(&server, article("b", &["نص"])).await;
    let before = server.export().await;
    fails(
        client
            .update_article(update_request(second, &["canonical_url"]))
            .await,
        Code::AlreadyExists,
        "ALIAS_TAKEN",
    );
    let mut guid = article("b", &["نص"]);
    guid.guid = "g1".into();
    guid.publisher = "p".into();
    fails(
        client
            .update_article(update_request(guid.clone(), &["guid", "publisher"]))
            .await,
        Code::AlreadyExists,
        "ALIAS_TAKEN",
    );
    assert_eq!(server.export().await, before);
    // Under another publisher the same guid is another alias.
    guid.publisher = "q".into();
    update(&server, guid, &["guid", "publisher"]).await;
    // Former aliases go on finding the article, also after a restart, and stay taken.
    first.canonical_url = "https://example.com/moved".into();
    first.guid = "g2".into();
    update(&server, first, &["canonical_url", "guid"]).await;
    let server = server.restart().await;
    let mut client = server.articles();
    let guid = |publisher: &str, guid: &str| {
        Alias::Guid(pb::Guid {
            publisher: publisher.into(),
            guid: guid.into(),
        })
    };
    for (alias, holder) in [
        (Alias::CanonicalUrl(url.into()), "a"),
        (Alias::CanonicalUrl("https://example.com/moved".into()), "a"),
        (guid("p", "g1"), "a"),
        (guid("p", "g2"), "a"),
        (guid("q", "g1"), "b"),
    ] {
        let found = client.lookup_article(lookup(alias)).await.unwrap().into_inner();
        assert_eq!(found.article.unwrap().article_id, holder);
    }
    let mut third = article("c", &["نص"]);
    third.canonical_url = url.into();
    let request = pb::CreateArticleRequest {
        article: Some(third),
        ..Default::default()
    };
    fails(
        client.create_article(request).await,
        Code::AlreadyExists,
        "ALIAS_TAKEN",
    );
    for alias in [
        guid("", "g1"),
        guid("p", "G1"),
        Alias::CanonicalUrl("http://example.com/moved".into()),
    ] {
        fails(
            client.lookup_article(lookup(alias)).await,
            Code::NotFound,
            "ARTICLE_NOT_FOUND",
        );
    }
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_listed_newest_first_page_by_page() {
    let server = Server::memory().await;
    let mut client = server.articles();
    create(&server, article("a", &["نص 1"])).await;
    create(&server, article("b", &["نص"])).await;
    for number in 2..=7 {
        let mut revised = article("a", &["x"; 2]);
        revised.title = Some(segment(&format!("عنوان {number}")));
        revised.body = body(&vec![format!("نص {number}"); number]);
        let request = pb::UpdateArticleRequest {
            significance: pb::Significance::Correction.into(),
            ..update_request(revised, &[])
        };
        client.update_article(request).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut token = String::new();
    loop {
        let request = pb::ListRevisionsRequest {
            show_hidden: false,
            article_id: "a".into(),
            page_size: 3,
            page_token: token,
        };
        let page = client.list_revisions(request).await.unwrap().into_inner();
        assert!(page.revisions.len() <= 3);
        listed.extend(page.revisions);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let other = pb::ListRevisionsRequest {
            show_hidden: false,
            article_id: "b".into(),
            page_size: 3,
            page_token: token.clone(),
        };
        fails(
            client.list_revisions(other).await,
            Code::InvalidArgument,
            "BAD_TOKEN",
        );
    }
    let numbers: Vec<_> = listed.iter().map(|r| (r.revision, r.segment_count)).collect();
    assert_eq!(numbers, [(7, 7), (6, 6), (5, 5), (4, 4), (3, 3), (2, 2), (1, 1)]);
    assert_eq!(listed[0].title, "عنوان 7");
    assert_eq!(listed[0].significance(), pb::Significance::Correction);
    assert_eq!(listed[6].significance(), pb::Significance::Unspecified);
    let head = get(&server, "a").await;
    assert_eq!(listed[0].create_time, head.revise_time);
    assert_eq!(listed[6].create_time, head.create_time);
    assert!(listed.iter().is_sorted_by_key(|r| std::cmp::Reverse(r.revision)));
}

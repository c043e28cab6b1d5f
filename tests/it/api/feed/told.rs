//! The content of feed messages: filters, and the visibility of hidden and purged articles.

use article_store::domain::access::Right;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn filters_look_at_what_was_and_what_is() {
    let server = Server::memory().await;
    history(&server).await;
    let english = pb::Article {
        language: "en".into(),
        section: "news".into(),
        ..article("c", &["one"])
    };
    create(&server, english).await;
    let everything = all(&server, oldest()).await;
    let told = async |request: pb::WatchChangesRequest| {
        let request = pb::WatchChangesRequest {
            start: pb::WatchStart::Oldest.into(),
            ..request
        };
        all(&server, request).await
    };
    let expected = |wanted: &dyn Fn(&pb::Change) -> bool| {
        everything
            .iter()
            .filter(|change| wanted(change))
            .cloned()
            .collect::<Vec<_>>()
    };

    let kinds = pb::WatchChangesRequest {
        kinds: vec![Kind::ArticleRevised.into(), Kind::TranslationSelected.into()],
        ..Default::default()
    };
    let by_kind = expected(&|c| matches!(c.kind(), Kind::ArticleRevised | Kind::TranslationSelected));
    assert_eq!(told(kinds).await, by_kind);
    assert_eq!(by_kind.len(), 8);

    let into = pb::WatchChangesRequest {
        target_languages: vec!["FR".into()],
        ..Default::default()
    };
    let by_target = expected(&|c| matches!(c.language.as_str(), "" | "fr"));
    assert_eq!(told(into).await, by_target);
    assert!(by_target.len() < everything.len());

    let from = pb::WatchChangesRequest {
        source_languages: vec!["en".into(), "de".into()],
        ..Default::default()
    };
    let by_source = told(from).await;
    assert_eq!(by_source, expected(&|c| c.article_id == "c"));
    assert_eq!(by_source.len(), 1);

    let of = |change: &pb::Change, section: &str| {
        let scopes = [&change.scope, &change.previous_scope];
        scopes.into_iter().flatten().any(|scope| scope.section == section)
    };
    let section = |section: &str| pb::WatchChangesRequest {
        sections: vec![section.into()],
        ..Default::default()
    };
    let sport = told(section("sport")).await;
    assert_eq!(sport, expected(&|c| of(c, "sport")));
    // The one that left a section is told of in both.
    let left = pb::Article {
        article_id: "b".into(),
        section: "news".into(),
        ..Default::default()
    };
    update(&server, left, &["section"]).await;
    let (sport, news) = (told(section("sport")).await, told(section("news")).await);
    assert_eq!(sport.last(), news.last());
    assert_eq!(news.last().unwrap().seq, server.seq().await);
}

/// The feed message about an article that the caller may not read.
fn only_ids(change: &pb::Change) -> pb::Change {
    pb::Change {
        seq: change.seq,
        ordinal: change.ordinal,
        commit_time: change.commit_time,
        kind: change.kind,
        article_id: change.article_id.clone(),
        hidden: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_hidden_articles_ids_are_told_and_nothing_passes_by_a_filter() {
    let server = Server::sled().await;
    // Somebody follows, so that all of it is in the window.
    let mut follower = Follower::now(&server).await;
    history(&server).await;
    let seen = all(&server, oldest()).await;
    assert!(seen.iter().all(|change| !change.hidden));
    withhold(&server, "a", pb::PublicationStatus::Withheld).await;

    let expect_hidden = |told: &[pb::Change]| {
        for (told, seen) in told.iter().zip(&seen) {
            let expected = if seen.article_id == "a" {
                only_ids(seen)
            } else {
                seen.clone()
            };
            assert_eq!(*told, expected);
        }
        let last = told.last().unwrap();
        assert_eq!((last.kind(), last.hidden), (Kind::PublicationStatusChanged, true));
        assert_eq!(told.len(), seen.len() + 1);
    };
    expect_hidden(&all(&server, oldest()).await);
    // A filter that the article does not match says nothing about it: whatever it is, its changes pass.
    for filter in [
        pb::WatchChangesRequest {
            source_languages: vec!["xx".into()],
            ..oldest()
        },
        pb::WatchChangesRequest {
            target_languages: vec!["xx".into()],
            sections: vec!["none".into()],
            ..oldest()
        },
        pb::WatchChangesRequest {
            source_languages: vec!["ar".into()],
            target_languages: vec!["fr".into()],
            ..oldest()
        },
    ] {
        let told = all(&server, filter).await;
        let of_a: Vec<_> = told
            .into_iter()
            .filter(|change| change.article_id == "a")
            .collect();
        let expected: Vec<_> = seen
            .iter()
            .filter(|c| c.article_id == "a")
            .map(only_ids)
            .collect();
        assert_eq!(of_a[..expected.len()], expected[..]);
    }
    let kinds = pb::WatchChangesRequest {
        kinds: vec![Kind::ArticleCreated.into()],
        ..oldest()
    };
    assert_eq!(all(&server, kinds).await.len(), 2);

    // The same from the log, by a server that has just started; and whoever may see it does.
    let server = server
        .restart_with(|setup| setup.scopes(&[Right::Editorial]))
        .await;
    let told = all(&server, oldest()).await;
    assert_eq!(told[..seen.len()], seen[..]);
    let server = server.restart_with(|setup| setup.scopes(&[])).await;
    expect_hidden(&all(&server, oldest()).await);

    // It comes back with all that is told of it.
    withhold(&server, "a", pb::PublicationStatus::Usable).await;
    let told = all(&server, oldest()).await;
    assert_eq!(told[..seen.len()], seen[..]);
    assert!(told.iter().all(|change| !change.hidden));
    let status = follower.end().await;
    assert_eq!(status.code, Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_purged_articles_ids_are_told_and_deleted_ones_stay_as_they_are() {
    let server = Server::sled().await;
    let follower = Follower::now(&server).await;
    history(&server).await;
    let seen = all(&server, oldest()).await;
    purge(&server, "a").await;
    let delete = pb::DeleteArticleRequest {
        article_id: "b".into(),
        ..Default::default()
    };
    server.articles().delete_article(delete).await.unwrap();
    for restarts in 0..2 {
        let told = all(&server, oldest()).await;
        for (told, seen) in told.iter().zip(&seen) {
            let expected = if seen.article_id == "a" {
                only_ids(seen)
            } else {
                seen.clone()
            };
            assert_eq!(*told, expected, "after {restarts} restarts");
        }
        let rest = &told[seen.len()..];
        assert_eq!((rest[0].kind(), rest[0].hidden), (Kind::ArticlePurged, true));
        assert_eq!((rest[1].kind(), rest[1].hidden), (Kind::ArticleDeleted, false));
    }
    drop(follower);
    let server = server.restart().await;
    assert_eq!(all(&server, oldest()).await.len(), seen.len() + 2);
}

//! Pages of a list: tokens, bounds, and sizes.

use article_store::pb;
use tonic::Code;

use super::{dated, days, instants, listed, ranged};
use crate::api::{article, create};
use crate::harness::{Server, fails};

#[tokio::test(flavor = "multi_thread")]
async fn pages_neither_repeat_nor_hide_while_others_write() {
    let server = Server::memory().await;
    let mut expected = Vec::new();
    // Many of one instant: the id decides.
    for number in 0..23 {
        let id = format!("old-{number:02}");
        let hour = number / 5;
        create(
            &server,
            dated(
                &id,
                &format!("2022-05-10T{hour:02}:00:00Z"),
                pb::DatePrecision::Second,
                0,
            ),
        )
        .await;
        expected.push(id);
    }
    expected.reverse();
    for order in [pb::ListOrder::NewestFirst, pb::ListOrder::OldestFirst] {
        let mut request = pb::ListArticlesRequest {
            order: order.into(),
            page_size: 4,
            ..Default::default()
        };
        let mut seen = Vec::new();
        let mut client = server.articles();
        for page_number in 0.. {
            let page = client.list_articles(request.clone()).await.unwrap().into_inner();
            seen.extend(page.articles.into_iter().map(|article| article.article_id));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
            request.page_size = 2 + page_number % 5;
            for (name, hour) in [("front", 23), ("mid", 2), ("back", 0)] {
                let id = format!("new-{order:?}-{name}-{page_number}");
                let instant = format!("2022-05-10T{hour:02}:00:00Z");
                create(&server, dated(&id, &instant, pb::DatePrecision::Second, 0)).await;
            }
        }
        let old: Vec<_> = seen.iter().filter(|id| id.starts_with("old")).cloned().collect();
        assert_eq!(old, expected, "{order:?}");
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), seen.len(), "{order:?}");
        expected.reverse();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_belongs_to_one_query() {
    let server = Server::memory().await;
    for number in 0..4 {
        create(
            &server,
            dated(
                &format!("d{number}"),
                "2022-05-10T00:00:00Z",
                pb::DatePrecision::Second,
                0,
            ),
        )
        .await;
        create(&server, article(&format!("u{number}"), &["نص"])).await;
        create(
            &server,
            dated(
                &format!("f{number}"),
                "2200-05-10T00:00:00Z",
                pb::DatePrecision::Second,
                0,
            ),
        )
        .await;
    }
    let bases = [
        pb::ListArticlesRequest::default(),
        ranged(instants("2022-01-01T00:00:00Z", "2023-01-01T00:00:00Z")),
        ranged(days("2022-01-01", "2023-01-01", "")),
        pb::ListArticlesRequest {
            dating: pb::Dating::Undated.into(),
            ..Default::default()
        },
        pb::ListArticlesRequest {
            dating: pb::Dating::Future.into(),
            ..Default::default()
        },
    ];
    let mut client = server.articles();
    for base in bases {
        let first = pb::ListArticlesRequest {
            page_size: 2,
            ..base.clone()
        };
        let token = client
            .list_articles(first)
            .await
            .unwrap()
            .into_inner()
            .next_page_token;
        assert!(!token.is_empty(), "{base:?}");
        let next = pb::ListArticlesRequest {
            page_token: token.clone(),
            page_size: 1,
            ..base.clone()
        };
        client.list_articles(next.clone()).await.unwrap();
        let others = [
            pb::ListArticlesRequest {
                language: "ar".into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                section: "x".into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                publisher: "x".into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                show_deleted: true,
                ..next.clone()
            },
            pb::ListArticlesRequest {
                order: pb::ListOrder::OldestFirst.into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                axis: pb::DateAxis::Updated.into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                view: pb::ArticleView::Full.into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                dating: 0,
                range: days("2022-01-01", "2022-12-31", ""),
                ..next.clone()
            },
        ];
        for other in others {
            let refused = fails(
                client.list_articles(other.clone()).await,
                Code::InvalidArgument,
                "BAD_TOKEN",
            );
            assert_eq!(refused.paths(), ["page_token"], "{other:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_looks_at_a_bounded_number_of_articles() {
    let server = Server::memory().await;
    let items = (0..2_100).map(|number| {
        let mut item = dated(
            &format!("n{number:04}"),
            "2022-05-10T00:00:00Z",
            pb::DatePrecision::Second,
            0,
        );
        item.section = if number == 0 { "rare" } else { "" }.into();
        pb_item(number, &item)
    });
    let items: Vec<_> = items.collect();
    let mut answers = server
        .articles()
        .import_articles(futures::stream::iter(items))
        .await
        .unwrap()
        .into_inner();
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.result(), pb::ImportResult::Created);
    }
    let rare = pb::ListArticlesRequest {
        section: "rare".into(),
        ..Default::default()
    };
    let page = server
        .articles()
        .list_articles(rare.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(page.articles.is_empty() && !page.next_page_token.is_empty());
    assert_eq!(listed(&server, rare).await, ["n0000"]);
    let all = pb::ListArticlesRequest {
        page_size: i32::MAX,
        order: pb::ListOrder::OldestFirst.into(),
        ..Default::default()
    };
    let all = listed(&server, all).await;
    assert_eq!(all.len(), 2_100);
    assert!(all.is_sorted());
}

fn pb_item(item: u64, article: &pb::Article) -> article_store::api::codec::ImportArticlesRequest {
    article_store::api::codec::ImportArticlesRequest {
        item,
        article: Some(prost::Message::encode_to_vec(article).into()),
        significance: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_batches_fit_into_the_messages_of_default_clients() {
    let server = Server::memory().await;
    let megabyte = "ن".repeat(450_000);
    let ids: Vec<_> = (0..7).map(|number| format!("big{number}")).collect();
    for id in &ids {
        create(&server, article(id, &[&megabyte])).await;
    }
    let full = pb::ListArticlesRequest {
        view: pb::ArticleView::Full.into(),
        ..Default::default()
    };
    let mut expected = ids.clone();
    expected.reverse();
    let mut all = listed(&server, full).await;
    all.sort_by(|a, b| b.cmp(a));
    assert_eq!(all, expected);
    let mut left = ids.clone();
    let mut read = Vec::new();
    let mut rounds = 0;
    while !left.is_empty() {
        let request = pb::BatchGetArticlesRequest {
            article_ids: left,
            view: pb::ArticleView::Full.into(),
            ..Default::default()
        };
        let answer = server
            .articles()
            .batch_get_articles(request)
            .await
            .unwrap()
            .into_inner();
        assert!(!answer.articles.is_empty());
        read.extend(answer.articles.into_iter().map(|article| article.article_id));
        left = answer.unprocessed_ids;
        rounds += 1;
    }
    assert_eq!(read, ids);
    assert!(rounds > 1);
}

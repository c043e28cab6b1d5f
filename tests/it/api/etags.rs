//! Etags are a compare-and-swap: no lost update is acknowledged to a writer that changes what it has read.

use article_store::pb;
use futures::future::join_all;

use super::{article, create};
use crate::harness::{Server, failure};

const CLIENTS: usize = 6;
const ADDITIONS: usize = 15;

fn count(article: &pb::Article) -> u64 {
    article.labels["count"].parse().unwrap()
}

async fn read(server: &Server) -> pb::Article {
    let request = pb::GetArticleRequest {
        article_id: "counter".into(),
        ..Default::default()
    };
    let answer = server.articles().get_article(request).await.unwrap();
    answer.into_inner().article.unwrap()
}

/// Adds one to the label, and tries again until the write is answered as done.
async fn add_one(server: &Server) {
    loop {
        let read = read(server).await;
        let request = pb::UpdateArticleRequest {
            article: Some(pb::Article {
                article_id: "counter".into(),
                labels: [("count".to_owned(), (count(&read) + 1).to_string())].into(),
                ..Default::default()
            }),
            etag: read.etag,
            ..Default::default()
        };
        match server.articles().update_article(request).await {
            Ok(_) => return,
            Err(status) => assert_eq!(failure(&status).reason, "ETAG_MISMATCH", "{status:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost_under_an_etag() {
    let server = Server::memory().await;
    let counter = pb::Article {
        labels: [("count".to_owned(), "0".to_owned())].into(),
        ..article("counter", &["نص"])
    };
    create(&server, counter).await;
    let clients = (0..CLIENTS).map(|_| async {
        for _ in 0..ADDITIONS {
            add_one(&server).await;
        }
    });
    join_all(clients).await;
    assert_eq!(count(&read(&server).await), (CLIENTS * ADDITIONS) as u64);
}

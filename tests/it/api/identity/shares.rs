//! Shares: one caller does not take the places of all others.

use article_store::domain::access::Scopes;
use article_store::pb;
use article_store::server::CallLimits;
use article_store::server::auth::Config;
use futures::stream;
use tonic::{Code, Status, Streaming};

use super::{Desk, line};
use crate::api::jobs;
use crate::harness::{fails, within};

type Watch = Result<tonic::Response<Streaming<pb::WatchChangesResponse>>, Status>;

async fn watch(desk: &Desk, name: &str) -> Watch {
    desk.changes(name)
        .watch_changes(pb::WatchChangesRequest::default())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_principal_has_a_share_of_streams_and_claims() {
    let calls = CallLimits {
        long_calls: 4,
        long_calls_per_caller: 2,
        ..CallLimits::default()
    };
    let scopes = &["read", "ingest", "translate:*"];
    let lines = [line("nora", scopes, &[]), line("idris", scopes, &[])];
    let with_anonymous = |config| Config {
        anonymous: Some(Scopes::open()),
        ..config
    };
    let desk = Desk::limited(&lines, with_anonymous, calls).await;
    let mut held = vec![
        watch(&desk, "nora").await.unwrap(),
        watch(&desk, "nora").await.unwrap(),
    ];
    let refused = fails(watch(&desk, "nora").await, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(refused.metadata["limit_of"], "streams and claims of one caller");
    assert_eq!(refused.metadata["limit"], "2");
    assert!(refused.retry);
    let claim = desk.jobs("nora").claim_jobs(jobs::claim_all()).await;
    fails(claim, Code::ResourceExhausted, "OVERLOADED");
    let mut articles = desk.articles("nora");
    let export = articles
        .export_articles(pb::ExportArticlesRequest::default())
        .await;
    fails(export, Code::ResourceExhausted, "OVERLOADED");
    let import = articles.import_articles(stream::iter(Vec::new())).await;
    fails(import, Code::ResourceExhausted, "OVERLOADED");
    // Others have their own share, those without credentials by their address.
    desk.jobs("idris").claim_jobs(jobs::claim_all()).await.unwrap();
    for _ in 0..2 {
        let mut changes = desk.server.changes();
        held.push(
            changes
                .watch_changes(pb::WatchChangesRequest::default())
                .await
                .unwrap(),
        );
    }
    let refused = fails(watch(&desk, "idris").await, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(refused.metadata["limit_of"], "streams and claims");
    // Short calls count apart, and a share is given back.
    articles
        .list_articles(pb::ListArticlesRequest::default())
        .await
        .unwrap();
    drop(held);
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(5));
    within(async {
        while watch(&desk, "nora").await.is_err() {
            looks.tick().await;
        }
    })
    .await;
}

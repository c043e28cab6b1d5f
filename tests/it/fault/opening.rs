//! Databases that take long to open: meanwhile the server answers and can be stopped, and so it can while it reopens one.

use std::path::Path;

use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use serde_json::Value;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::image::STORE;
use super::process::{PROGRAM, Process};
use super::shim::Shim;
use super::{check, until};
use crate::harness::failure;
use crate::probes::ask;
use crate::process::serve;

fn start(shim: &Shim, log: &Path) -> Process {
    let mut command = std::process::Command::new(PROGRAM);
    serve(&mut command, "127.0.0.1:0", &shim.root.join(STORE), 0);
    command.args(["--metrics-listen", "127.0.0.1:0", "--grace-seconds", "1"]);
    Process::start(shim.gated(command), log)
}

/// The address in the last line of the log that begins with this message.
async fn logged(log: &Path, message: &str) -> String {
    until(async || {
        let log = std::fs::read_to_string(log).ok()?;
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut found = lines.filter(|line| {
            line["message"]
                .as_str()
                .is_some_and(|said| said.starts_with(message))
        });
        Some(found.next_back()?["address"].as_str()?.to_owned())
    })
    .await
}

fn said(log: &Path, message: &str) -> bool {
    std::fs::read_to_string(log).unwrap().contains(message)
}

async fn health(channel: &Channel, service: &str) -> ServingStatus {
    let service = service.to_owned();
    let mut client = HealthClient::new(channel.clone());
    let answer = client.check(HealthCheckRequest { service }).await;
    answer.unwrap().into_inner().status()
}

fn new_article() -> pb::CreateArticleRequest {
    let text = |text: &str| pb::Segment {
        text: text.into(),
        ..Default::default()
    };
    pb::CreateArticleRequest {
        article: Some(pb::Article {
            article_id: "a".into(),
            language: "en".into(),
            title: Some(text("The night ferry")),
            body: vec![text("It left at ten.")],
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_answers_and_stops_while_its_store_opens_or_reopens() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("volume")).unwrap();
    let shim = Shim::new(directory.path(), "volume", true);
    let log = |number: u32| directory.path().join(format!("log{number}"));

    // A store, made before anything waits.
    let mut server = start(&shim, &log(0));
    server.address().await.expect("the server starts");
    server.stop().await;

    shim.close_gate();
    let opening = start(&shim, &log(1));
    until(async || shim.is_met().then_some(())).await;
    let probes = logged(&log(1), "serving metrics").await.parse().unwrap();
    assert!(ask(probes, "livez").await.starts_with("HTTP/1.1 200"));
    let readiness = ask(probes, "readyz").await;
    assert!(readiness.starts_with("HTTP/1.1 503"), "{readiness}");
    assert!(readiness.contains("the store is being opened"), "{readiness}");
    opening.stop().await;
    assert!(said(&log(1), "stopped before the store was open"));
    shim.open_gate();

    shim.close_gate();
    let mut server = start(&shim, &log(2));
    until(async || shim.is_met().then_some(())).await;
    let address = logged(&log(2), "opening the store").await;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let services = ["", "articlestore.v1.ArticleService", "articlestore.v1.writes"];
    for service in services {
        assert_eq!(
            health(&channel, service).await,
            ServingStatus::NotServing,
            "{service}"
        );
    }
    let mut articles = ArticleServiceClient::new(channel.clone());
    let refused = articles.create_article(new_article()).await.unwrap_err();
    let refusal = failure(&refused);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::Unavailable, "STORE_UNAVAILABLE")
    );
    assert!(refusal.retry, "{refusal:?}");
    assert!(
        refused.message().contains("the store is being opened"),
        "{refused}"
    );
    shim.open_gate();
    server.address().await.expect("the store opens");
    // By the same connection.
    articles.create_article(new_article()).await.unwrap();
    for service in services {
        assert_eq!(
            health(&channel, service).await,
            ServingStatus::Serving,
            "{service}"
        );
    }

    // The engine is reopened after a failed sync, and is not done when the server is stopped.
    shim.close_gate();
    shim.fail(&["fdatasync"]);
    let update = pb::UpdateArticleRequest {
        article: Some(pb::Article {
            title: Some(pb::Segment {
                text: "The day ferry".into(),
                ..Default::default()
            }),
            ..new_article().article.unwrap()
        }),
        ..Default::default()
    };
    let unknown = articles.update_article(update).await.unwrap_err();
    assert_eq!(failure(&unknown).reason, "OUTCOME_UNKNOWN");
    until(async || shim.is_met().then_some(())).await;
    server.stop().await;
    assert!(said(&log(2), "the store did not close within the grace"));
    shim.open_gate();

    assert!(check(&shim.root.join(STORE)).await >= 1);
}

//! What asks the port of metrics whether the server is well: probes over gRPC, and over HTTP beside them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::SocketAddr;
use std::sync::Arc;

use article_store::server::telemetry::{Readiness, Telemetry, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::eventually;

/// What an HTTP server answers to GET.
pub(crate) async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn probes_over_grpc_and_http_agree() {
    let telemetry = Arc::new(Telemetry::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(http::serve(listener, telemetry.clone()));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut health = HealthClient::new(endpoint.connect_lazy());
    for (readiness, expected, line) in [
        (Readiness::Starting, ServingStatus::NotServing, "HTTP/1.1 503"),
        (Readiness::Serving, ServingStatus::Serving, "HTTP/1.1 200"),
        (Readiness::WritesRefused, ServingStatus::Serving, "HTTP/1.1 200"),
        (Readiness::StoreDown, ServingStatus::NotServing, "HTTP/1.1 503"),
        (Readiness::Draining, ServingStatus::NotServing, "HTTP/1.1 503"),
    ] {
        telemetry.set_readiness(readiness);
        let answer = health.check(HealthCheckRequest::default()).await.unwrap();
        assert_eq!(answer.into_inner().status(), expected, "{readiness:?}");
        let answer = ask(address, "readyz").await;
        assert!(answer.contains(readiness.text()), "{answer}");
        assert!(answer.starts_with(line), "{readiness:?}: {answer}");
    }
    // The process lives until only a restart helps.
    assert!(ask(address, "livez").await.starts_with("HTTP/1.1 200"));
    assert!(telemetry.set_dead() && !telemetry.set_dead());
    assert!(ask(address, "livez").await.starts_with("HTTP/1.1 503"));
    let other = HealthCheckRequest {
        service: "articlestore.v1.ArticleService".into(),
    };
    assert_eq!(health.check(other).await.unwrap_err().code(), Code::NotFound);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_all_writes_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let server = crate::cli::Server::start_on_full_volume(&directory.path().join("store"));
    eventually(|| server.run(&["health"]).ok().contains("writes are refused")).await;
    assert!(server.run(&["health"]).ok().contains("--min-free-bytes"));
    let health = server.run(&["health", "--output", "json"]).json();
    assert_eq!(health[0]["status"], "SERVING");
    assert_eq!(health[0]["writes"], "NOT_SERVING");
    let policy = [
        "policy", "put", "p", "--from", "en", "--into", "fr", "--kind", "mt",
    ];
    let refused = server.run(&policy);
    assert!(
        refused.stderr.contains("serve --min-free-bytes"),
        "{}",
        refused.stderr
    );
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("writes are refused: the store's volume has less free space than --min-free-bytes"));
}

//! What asks the port of metrics whether the server is well: probes over gRPC, and over HTTP beside them.

use std::sync::Arc;

use article_store::server::telemetry::{Readiness, Telemetry, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

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
        (Readiness::StoreDown, ServingStatus::NotServing, "HTTP/1.1 503"),
        (Readiness::Draining, ServingStatus::NotServing, "HTTP/1.1 503"),
    ] {
        telemetry.set_readiness(readiness);
        let answer = health.check(HealthCheckRequest::default()).await.unwrap();
        assert_eq!(answer.into_inner().status(), expected, "{readiness:?}");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(line), "{readiness:?}: {answer}");
    }
    let other = HealthCheckRequest {
        service: "articlestore.v1.ArticleService".into(),
    };
    assert_eq!(health.check(other).await.unwrap_err().code(), Code::NotFound);
    serving.abort();
}

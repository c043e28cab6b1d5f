//! The standard services beside the API: health follows the server, reflection knows every service.

use futures::stream;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::harness::{LIMIT, Server};

const SERVICES: [&str; 2] = ["articlestore.v1.ArticleService", "articlestore.v1.TranslationService"];

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_serves_until_the_server_stops() {
    let server = Server::sled().await;
    let mut client = HealthClient::new(server.channel());
    for service in ["", SERVICES[0], SERVICES[1]] {
        let answer = client.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = client.check(of("articlestore.v2.ArticleService")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let mut watch = client.watch(of(SERVICES[0])).await.unwrap().into_inner();
    let next = watch.message().await.unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::Serving);
    // Who watches hears of the stop before the connection ends.
    let (stopped, heard) = futures::join!(server.stop(), async {
        let heard = tokio::time::timeout(LIMIT, watch.message()).await;
        heard.expect("in time")
    });
    let () = stopped;
    let heard: HealthCheckResponse = heard.unwrap().unwrap();
    assert_eq!(heard.status(), ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_and_describes_every_service() {
    use tonic_reflection::pb::{v1, v1alpha};
    let server = Server::memory().await;
    let mut expected = vec!["grpc.health.v1.Health".to_owned()];
    expected.extend(SERVICES.map(str::to_owned));

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(server.channel());
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let ask = |request| v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    };
    let requests = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(SERVICES[0].into())),
        ask(MessageRequest::FileContainingSymbol("google.protobuf.Timestamp".into())),
        ask(MessageRequest::FileContainingSymbol("articlestore.v1.ErrorReason".into())),
    ];
    let mut answers = client
        .server_reflection_info(stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    let listed = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = listed else {
        panic!("{listed:?}")
    };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for name in &expected {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    for _ in 0..3 {
        let described = answers.message().await.unwrap().unwrap().message_response.unwrap();
        assert!(
            matches!(described, MessageResponse::FileDescriptorResponse(_)),
            "{described:?}"
        );
    }

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut answers = client
        .server_reflection_info(stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    use v1alpha::server_reflection_response::MessageResponse as Alpha;
    let listed = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let Alpha::ListServicesResponse(listed) = listed else {
        panic!("{listed:?}")
    };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for name in &expected {
        assert!(names.contains(name), "{name} in {names:?}");
    }
}

//! Traces as a collector gets them: a real one in this process, and the program as a process of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::cli::Server;

/// Keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        format!("http://{address}")
    }
}

fn attributes(attributes: &[KeyValue]) -> HashMap<&str, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|attribute| (attribute.key.as_str(), text(attribute)))
        .collect()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn client(server: &Server) -> ArticleServiceClient<tonic::transport::Channel> {
    ArticleServiceClient::connect(format!("http://{}", server.address()))
        .await
        .unwrap()
}

fn create(id: &str) -> pb::CreateArticleRequest {
    let article = pb::Article {
        article_id: id.into(),
        language: "ar".into(),
        title: Some(pb::Segment {
            text: "عنوان".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    pb::CreateArticleRequest {
        article: Some(article),
        ..Default::default()
    }
}

fn traced<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{TRACE}-{PARENT}-01");
    request
        .metadata_mut()
        .insert("traceparent", parent.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_span_of_its_callers_trace() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let directory = TempDir::new().unwrap();
    let options = ["--otlp-endpoint", &endpoint, "--otlp-sample-ratio", "0"];
    let server = Server::start_with(&directory.path().join("store"), &options);
    let mut articles = client(&server).await;
    articles.create_article(traced(create("a"))).await.unwrap();
    // Nobody asked for this one.
    articles.create_article(create("b")).await.unwrap();
    let missing = pb::GetArticleRequest {
        article_id: "x".into(),
        ..Default::default()
    };
    articles.get_article(traced(missing)).await.unwrap_err();
    // What was not sent yet is sent before the process ends.
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");

    let sent = collector.0.lock().unwrap().clone();
    let resources: Vec<_> = sent.iter().flat_map(|sent| &sent.resource_spans).collect();
    for resource in &resources {
        let of = attributes(&resource.resource.as_ref().unwrap().attributes);
        assert_eq!(of["service.name"], "article-store");
        assert_eq!(of["service.version"], env!("CARGO_PKG_VERSION"));
    }
    let scopes = resources.iter().flat_map(|resource| &resource.scope_spans);
    let spans: Vec<&Span> = scopes.flat_map(|scope| &scope.spans).collect();
    let mut names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    let service = "articlestore.v1.ArticleService";
    let [create, get] = ["CreateArticle", "GetArticle"].map(|method| format!("{service}/{method}"));
    assert_eq!(names, [&create, &get, "store.commit"]);
    let span = |name: &str| *spans.iter().find(|span| span.name == name).unwrap();
    for (name, method, code) in [(&create, "CreateArticle", "0"), (&get, "GetArticle", "5")] {
        let span = span(name);
        assert_eq!(
            (hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()),
            (TRACE, PARENT)
        );
        assert_eq!(span.kind(), SpanKind::Server);
        let of = attributes(&span.attributes);
        assert_eq!(of["rpc.system"], "grpc");
        assert_eq!(
            (of["rpc.service"].as_str(), of["rpc.method"].as_str()),
            (service, method)
        );
        assert_eq!(of["rpc.grpc.status_code"], code);
        assert!(span.end_time_unix_nano > span.start_time_unix_nano);
        // That there is no such article is no error of the server.
        assert!(
            span.status
                .as_ref()
                .is_none_or(|status| status.code() != StatusCode::Error)
        );
    }
    let commit = span("store.commit");
    assert_eq!(commit.trace_id, span(&create).trace_id);
    assert_eq!(commit.parent_span_id, span(&create).span_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_up_nothing() {
    let directory = TempDir::new().unwrap();
    // A port that was free a moment ago.
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = format!("http://{gone}");
    let options = ["--otlp-endpoint", &endpoint, "--otlp-sample-ratio", "1"];
    let server = Server::start_with(&directory.path().join("store"), &options);
    client(&server).await.create_article(create("a")).await.unwrap();
    let stopping = tokio::task::spawn_blocking(|| server.stop());
    let (code, log) = crate::harness::within(stopping).await.unwrap();
    assert_eq!(code, Some(0), "{log}");
}

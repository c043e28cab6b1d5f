//! Traces: a span for each call, as a child of its caller's where the caller sends W3C `traceparent`, with spans of slow
//! steps such as a commit. They are exported over OTLP if the program is built with the feature `otlp` and given a
//! collector; otherwise no span is made.

use http::HeaderMap;
use tonic::Code;
use tracing::Span;
use tracing::field::Empty;

use crate::server::methods::Method;
pub(crate) use crate::service::TRACES as TARGET;

/// The span of a call, after the semantic conventions for RPCs.
pub fn span(method: &Method, headers: &HeaderMap, request_id: &str) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "rpc",
        otel.name = format_args!("{}/{}", method.service, method.name),
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = method.service,
        rpc.method = method.name,
        rpc.grpc.status_code = Empty,
        rpc.request_id = request_id,
    );
    if !span.is_disabled() {
        continue_trace(&span, headers);
    }
    span
}

/// Records the status of a call. Errors of the caller are no errors of the span.
pub fn end(span: &Span, code: Code) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.grpc.status_code", i32::from(code));
    let is_fault = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if is_fault {
        span.record("otel.status_code", "ERROR");
    }
}

/// The id of the caller's trace, for the log.
pub fn trace_id(headers: &HeaderMap) -> Option<Box<str>> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let id = parent.split('-').nth(1)?;
    let is_id = id.len() == 32 && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (is_id && id.bytes().any(|digit| digit != b'0')).then(|| id.into())
}

#[cfg(not(feature = "otlp"))]
fn continue_trace(_: &Span, _: &HeaderMap) {}

#[cfg(feature = "otlp")]
pub use self::otlp::{Collector, Exporter, StartError};

#[cfg(feature = "otlp")]
use self::otlp::continue_trace;

#[cfg(feature = "otlp")]
mod otlp {
    use std::time::Duration;

    use http::HeaderMap;
    use opentelemetry::KeyValue;
    use opentelemetry::propagation::{Extractor, TextMapPropagator};
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
    use tracing::{Span, Subscriber};
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::registry::LookupSpan;

    use super::TARGET;

    /// The time limit of an export, the last one at the end of the process included.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Where to send traces, and how many.
    #[derive(Debug, Clone)]
    pub struct Collector {
        /// The address of an OTLP collector over gRPC, such as `http://localhost:4317`.
        pub endpoint: String,
        /// The share of traces to record that begin here, from 0 to 1. Callers that trace decide for themselves.
        pub ratio: f64,
    }

    /// Why traces cannot be sent.
    #[derive(Debug, thiserror::Error)]
    #[error("traces cannot be sent to {endpoint}: {source}")]
    pub struct StartError {
        endpoint: String,
        source: opentelemetry_otlp::ExporterBuildError,
    }

    /// Sends traces.
    #[derive(Debug)]
    pub struct Exporter(SdkTracerProvider);

    impl Exporter {
        /// Begins to send traces, on the runtime that this is called in. The collector need not be there yet.
        pub fn start(collector: &Collector) -> Result<Self, StartError> {
            let exporter = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(&collector.endpoint)
                .with_timeout(PATIENCE)
                .build()
                .map_err(|source| StartError {
                    endpoint: collector.endpoint.clone(),
                    source,
                })?;
            // The variables `OTEL_…` of the resource hold as well.
            let resource = Resource::builder()
                .with_service_name("article-store")
                .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
                .build();
            let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(collector.ratio)));
            let provider = SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_sampler(sampler)
                .with_resource(resource)
                .build();
            Ok(Self(provider))
        }

        /// The layer that exports spans.
        pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
            tracing_opentelemetry::layer()
                .with_tracer(self.0.tracer("article-store"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false)
                .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
        }

        /// Sends the remaining spans, in bounded time.
        pub fn stop(self) {
            if let Err(error) = self.0.shutdown_with_timeout(PATIENCE) {
                tracing::warn!(%error, "the last traces were not sent");
            }
        }
    }

    /// Makes a span a child of the caller's.
    pub(super) fn continue_trace(span: &Span, headers: &HeaderMap) {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        // It fails without a subscriber for traces.
        drop(span.set_parent(parent));
    }

    struct Headers<'a>(&'a HeaderMap);

    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key)?.to_str().ok()
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(http::HeaderName::as_str).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_id_of_a_trace_is_read_where_it_is_one() {
        let id = |parent: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(parent));
            trace_id(&headers)
        };
        let sane = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(id(sane).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for parent in [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47361-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(id(parent), None, "{parent}");
        }
    }
}

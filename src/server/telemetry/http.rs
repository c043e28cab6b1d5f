//! Metrics and probes over HTTP, on a port of their own that is for operators alone: nothing of it is on the port of the API.
//!
//! Its connections are limited in number, each to one request and a short time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tonic_health::pb::health_server::HealthServer;

use super::Telemetry;
use super::probe::Probe;

/// Connections at once; further ones wait.
const CONNECTIONS: usize = 32;
/// How long a connection lasts at most.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The paths of `grpc.health.v1`.
const HEALTH: &str = "/grpc.health.v1.Health/{method}";

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves `/metrics`, `/livez`, `/readyz` and the health of gRPC until it is dropped.
pub async fn serve(listener: TcpListener, telemetry: Arc<Telemetry>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route_service(HEALTH, HealthServer::new(Probe(telemetry.clone())))
        .fallback(|| async { closing(StatusCode::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { closing(StatusCode::METHOD_NOT_ALLOWED) })
        .with_state(telemetry);
    let service = TowerToHyperService::new(router);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let service = service.clone();
                    connections.spawn(async move {
                        let http = auto::Builder::new(TokioExecutor::new());
                        let served = http.serve_connection(TokioIo::new(stream), service);
                        // A peer that breaks off, or is too slow, is no error of the server.
                        let _ = timeout(CONNECTION_TIME, served).await;
                    });
                }
                // File descriptors that are used up become free when connections end.
                Err(_) => sleep_until(Instant::now() + ACCEPT_PAUSE).await,
            }
        }
    }
}

/// An answer after which the connection is closed.
fn closing(answer: impl IntoResponse) -> Response {
    ([(header::CONNECTION, "close")], answer).into_response()
}

async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> Response {
    match telemetry.metrics() {
        Ok(metrics) => {
            let content_type: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, OPEN_METRICS)];
            closing((content_type, metrics))
        }
        // Writing to a string cannot fail.
        Err(_) => closing(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

async fn livez(State(telemetry): State<Arc<Telemetry>>) -> Response {
    match telemetry.is_dead() {
        true => closing((
            StatusCode::SERVICE_UNAVAILABLE,
            "dead: the store can write again only after a restart; the log says why\n",
        )),
        false => closing("alive\n"),
    }
}

async fn readyz(State(telemetry): State<Arc<Telemetry>>) -> Response {
    let readiness = telemetry.readiness();
    let status = match readiness.serves() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    closing((status, format!("{}\n", readiness.text())))
}

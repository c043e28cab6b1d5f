//! Metrics and probes over HTTP, on a port of their own that is for operators alone: nothing of it is on the port of the API.
//!
//! Its connections are limited in number, each to one request and a short time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic_health::pb::health_server::HealthServer;

use super::Telemetry;
use super::probe::Probe;

/// Connections at once; further ones wait.
const CONNECTIONS: usize = 32;
/// How long a connection lasts at most.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

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
    let listener = Bounded {
        listener,
        places: Arc::new(Semaphore::new(CONNECTIONS)),
    };
    // It ends with the listener, which never does.
    drop(axum::serve(listener, router).await);
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

/// A listener whose connections are few and short.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // The semaphore is never closed.
            if let Ok(place) = self.places.clone().acquire_owned().await {
                let (stream, address) = Listener::accept(&mut self.listener).await;
                let connection = Connection {
                    stream,
                    end: Box::pin(sleep_until(Instant::now() + CONNECTION_TIME)),
                    _place: place,
                };
                return (connection, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that breaks off when its time is over.
struct Connection {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn within_time<T>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        act(Pin::new(&mut self.stream), context)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.within_time(context, |stream, context| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.within_time(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.within_time(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.within_time(context, |stream, context| stream.poll_shutdown(context))
    }
}

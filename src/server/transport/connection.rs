//! One connection from its first byte to its last: TLS, the preface of HTTP/2, its streams, and every reason to end it.
//!
//! A peer has a limited time for its handshake, and none after that as long as it answers pings, reads, and is not idle.

use std::convert::Infallible;
use std::error::Error;
use std::io::{
    self,
    ErrorKind::{ConnectionReset, UnexpectedEof},
};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tonic::body::Body;
use tower::ServiceExt;

use super::certificate::{self, PeerCertificate};
use super::grpc_filter;
use super::metrics::End;
use super::stall_guard::{Flow, Given, Sent, Streams};
use super::write_timeout::Wire;
use super::{Answers, Config, PeerAddress};

/// The preface of an HTTP/2 client.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// For browsers and probes: why this port is not for them.
const NOT_HTTP1: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: text/plain\r\ncontent-length: 39\r\nconnection: close\r\n\r\n\
    this port speaks gRPC over HTTP/2 only\n";

/// The bytes of a response that may wait to be sent: more would hide unsent work from the limits of calls.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// The bytes that a client may send unasked on a stream, and on a connection. A stream whose reader waits must not hold up the
/// others of its connection, so that this has room for several.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// The largest frame. HTTP/2's own default, and its smallest: larger ones only make small messages wait.
const FRAME_BYTES: u32 = 16 << 10;
/// How many broken streams a peer may have the server reset before the connection is ended.
const LOCAL_RESETS: usize = 1_024;

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    /// Becomes true when the server stops.
    pub(super) stopping: watch::Receiver<bool>,
}

/// The end of a connection, with the error for the log.
pub(super) struct Ending {
    pub(super) end: End,
    pub(super) error: Option<String>,
}

impl From<End> for Ending {
    fn from(end: End) -> Self {
        Self { end, error: None }
    }
}

impl Shared {
    /// Serves a connection to its end.
    pub(super) async fn serve(
        &self,
        service: impl Answers,
        stream: TcpStream,
        address: SocketAddr,
    ) -> Ending {
        let deadline = Instant::now() + self.config.handshake_timeout;
        let Some(tls) = &self.tls else {
            return self.speak(service, stream, deadline, address, None).await;
        };
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        let stream = tokio::select! {
            stream = acceptor.accept(stream) => stream,
            () = sleep_until(deadline) => return End::HandshakeTimeout.into(),
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => return failed(End::Handshake, &error),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = match certificate.map(|der| certificate::read(der)).transpose() {
            Ok(read) => read.map(|read| Arc::new(read.names)),
            Err(error) => return failed(End::Handshake, &error),
        };
        self.speak(service, stream, deadline, address, certificate).await
    }

    /// Reads the preface, and serves HTTP/2.
    async fn speak<T>(
        &self,
        service: impl Answers,
        mut stream: T,
        deadline: Instant,
        address: SocketAddr,
        certificate: Option<Arc<PeerCertificate>>,
    ) -> Ending
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut preface = [0; PREFACE.len()];
        let read = tokio::select! {
            read = stream.read_exact(&mut preface) => read,
            () = sleep_until(deadline) => return End::HandshakeTimeout.into(),
        };
        match read {
            // A probe that only connects.
            Err(error) if matches!(error.kind(), UnexpectedEof | ConnectionReset) => {
                return End::Closed.into();
            }
            Err(error) => return failed(End::Handshake, &error),
            Ok(_) => {}
        }
        if preface != *PREFACE {
            if preface.is_ascii() {
                // Best effort: the peer may be gone.
                let _ = timeout(self.config.write_timeout, refuse_http1(&mut stream)).await;
            }
            return Ending {
                end: End::Handshake,
                error: Some("the peer does not speak HTTP/2".into()),
            };
        }
        let again = Bytes::from_static(PREFACE);
        let io = TokioIo::new(Wire::new(stream, again, self.config.write_timeout));
        self.exchange(service, io, address, certificate).await
    }

    /// Serves HTTP/2 until one side ends the connection.
    async fn exchange<T>(
        &self,
        service: impl Answers,
        io: TokioIo<Wire<T>>,
        address: SocketAddr,
        certificate: Option<Arc<PeerCertificate>>,
    ) -> Ending
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let streams = Streams::new(self.config.idle_timeout, self.config.metrics.idle_calls.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (service, certificate) = (service.clone(), certificate.clone());
            async move {
                if let Some(refusal) = grpc_filter::refuse(&request) {
                    return Ok(refusal);
                }
                let flow = Flow::current();
                let mut request = request.map(|body| Body::new(Sent::new(body, flow.clone())));
                request.extensions_mut().insert(PeerAddress(address));
                if let Some(certificate) = certificate {
                    request.extensions_mut().insert(certificate);
                }
                let response = service.oneshot(request).await?;
                Ok::<_, Infallible>(response.map(|body| Body::new(Given::new(body, flow))))
            }
        });
        let mut connection = pin!(self.http2(streams.clone()).serve_connection(io, service));
        let mut stopping = self.stopping.clone();
        let mut end = End::Closed;
        let mut closing = false;
        // The next time to see whether there are no streams, and then how long the peer may take to go.
        let mut look = pin!(sleep_until(Instant::now() + self.config.idle_timeout));
        loop {
            tokio::select! {
                done = connection.as_mut() => return match done {
                    Ok(()) => end.into(),
                    Err(error) => failed(why(&error), &error),
                },
                () = look.as_mut() => {
                    let now = Instant::now();
                    let limit = if closing { self.config.handshake_timeout } else { self.config.idle_timeout };
                    let next = streams.idle_since().unwrap_or(now) + limit;
                    if next > now {
                        look.as_mut().reset(next);
                    } else if closing {
                        return end.into();
                    } else {
                        end = End::Idle;
                        closing = true;
                        // Graceful: calls that are on their way are still answered.
                        connection.as_mut().graceful_shutdown();
                        look.as_mut().reset(now + self.config.handshake_timeout);
                    }
                }
                Ok(_) = stopping.wait_for(|stopping| *stopping), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                    // Running calls have the grace of the server.
                    look.as_mut().reset(Instant::now() + self.config.handshake_timeout);
                }
            }
        }
    }

    fn http2(&self, streams: Streams) -> http2::Builder<Streams> {
        let config = &self.config;
        let mut http2 = http2::Builder::new(streams);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.max_streams)
            .max_header_list_size(config.max_header_bytes)
            .keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(config.max_resets as usize)
            .max_local_error_reset_streams(LOCAL_RESETS);
        http2
    }
}

async fn refuse_http1(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(NOT_HTTP1).await?;
    stream.shutdown().await
}

fn failed(end: End, error: &(dyn Error + 'static)) -> Ending {
    let causes: Vec<_> = chain(error).map(ToString::to_string).collect();
    Ending {
        end,
        error: Some(causes.join(": ")),
    }
}

/// Sorts the errors of a connection.
fn why(error: &hyper::Error) -> End {
    let is_stalled = |cause: &(dyn Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut)
    };
    if error.is_timeout() {
        End::Keepalive
    } else if chain(error).any(is_stalled) {
        End::Stalled
    } else {
        End::Error
    }
}

/// An error and its causes, the deepest last.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

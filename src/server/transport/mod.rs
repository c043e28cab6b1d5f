//! Transport: the accept loop, TLS, HTTP/2 connections and their limits.
//!
//! It knows nothing of the API: it hands HTTP requests to one service. Limits of a call are layers of that service.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tonic::body::Body;
use tower::Service;

pub use self::certificate::PeerCertificate;
pub use self::metrics::{End, Ended, Metrics, Outcome, Reload};
pub use self::tls::{ClientCertificates, Tls, TlsError, TlsFiles};

use self::connection::{Ending, Shared};
use crate::clock::Clock;
use crate::server::log_throttle::LogThrottle;

mod certificate;
mod connection;
mod grpc_filter;
mod h2_goaway_workaround;
mod metrics;
mod stall_guard;
#[cfg(test)]
mod tests;
mod tls;
mod write_timeout;

/// The pause after a failed accept: file descriptors that are used up become free when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time between two log lines that peers can trigger.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// TCP keepalive: idle time, interval and number of probes. HTTP/2 pings come earlier; this is for connections before
/// their handshake.
const TCP_KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);

/// The limits of connections.
#[derive(Debug, Clone)]
pub struct Config {
    /// Open connections. One more is closed at once, so that its caller can try elsewhere instead of waiting in the
    /// kernel's queue.
    pub max_connections: usize,
    /// Concurrent calls of one connection. The peer knows the limit, and queues further ones.
    pub max_streams: u32,
    /// Calls that a peer may reset before the server has accepted them; with one more the connection is closed.
    pub max_resets: u32,
    /// The bytes of a request's headers, names, values and 32 for each; HTTP 431 answers more.
    pub max_header_bytes: u32,
    /// The time limit of TLS and the HTTP/2 preface, and of closing after GOAWAY.
    pub handshake_timeout: Duration,
    /// How long a peer may be silent before it is pinged.
    pub keepalive_interval: Duration,
    /// How long it may take to answer the ping.
    pub keepalive_timeout: Duration,
    /// How long a connection may carry no call, and a call may wait for its peer to send more of the request or to take
    /// more of the response.
    pub idle_timeout: Duration,
    /// The time limit of a write to the network. A reader whose flow-control window is full does not count: nothing is
    /// written to it.
    pub write_timeout: Duration,
    /// TLS; `None`: none.
    pub tls: Option<Tls>,
    /// Where it is counted.
    pub metrics: Metrics,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            // Fewer than calls are worked on at once, so that one connection alone never finds the server busy.
            max_streams: 100,
            max_resets: 100,
            max_header_bytes: 16 << 10,
            handshake_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(15 * 60),
            write_timeout: Duration::from_secs(30),
            tls: None,
            metrics: Metrics::default(),
        }
    }
}

/// The address of the peer, in the extensions of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The service behind the connections.
pub(super) trait Answers:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Serves until `stop` is ready. Then it accepts no more connections, sends GOAWAY, and returns when the last connection
/// has ended; dropping it ends all at once.
pub(super) async fn serve(
    listener: TcpListener,
    service: impl Answers,
    config: Config,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
) {
    let mut followers = JoinSet::new();
    let tls = config.tls.clone().map(|tls| {
        let (changed, configs) = watch::channel(tls.config());
        followers.spawn(tls.follow(changed, clock, config.metrics.clone()));
        configs
    });
    let (stopping, stopped) = watch::channel(false);
    let mut acceptor = Acceptor::new(listener, config.clone());
    let shared = Arc::new(Shared {
        config,
        tls,
        stopping: stopped,
    });
    let failures = Arc::new(LogThrottle::once_in(SAY_EVERY));
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let open = connections.len();
        tokio::select! {
            // Ended connections are removed before a new one is counted.
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            (stream, address) = acceptor.accept(open) => {
                let (shared, service, failures) = (shared.clone(), service.clone(), failures.clone());
                connections.spawn(async move {
                    let metrics = &shared.config.metrics;
                    let open = metrics.opened();
                    let ending = shared.serve(service, stream, address).await;
                    metrics.ended(ending.end);
                    drop(open);
                    log(&ending, address, &failures);
                });
            }
        }
    }
    drop(acceptor);
    stopping.send_replace(true);
    while connections.join_next().await.is_some() {}
}

/// Accepts connections up to the limit.
struct Acceptor {
    listener: TcpListener,
    config: Config,
    refusals: LogThrottle,
    errors: LogThrottle,
}

impl Acceptor {
    fn new(listener: TcpListener, config: Config) -> Self {
        Self {
            listener,
            config,
            refusals: LogThrottle::once_in(SAY_EVERY),
            errors: LogThrottle::once_in(SAY_EVERY),
        }
    }

    /// The next connection; `open` of them are open.
    async fn accept(&mut self, open: usize) -> (TcpStream, SocketAddr) {
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.failed(&error).await;
                    continue;
                }
            };
            if open < self.config.max_connections {
                // Both fail only for a peer that is gone already, which shows at the first read.
                let _ = stream.set_nodelay(true);
                let _ = keep_alive(&stream);
                return (stream, address);
            }
            self.config.metrics.ended(End::Refused);
            if let Some(times) = self.refusals.admit() {
                let limit = self.config.max_connections;
                tracing::warn!(limit, times, peer = %address, "a connection was refused: as many as may be are open");
            }
        }
    }

    /// Waits after an error that the next attempt would meet again.
    async fn failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        // The peer went away while it waited to be accepted.
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset
        ) {
            return;
        }
        self.config.metrics.accept_errors.inc();
        if let Some(times) = self.errors.admit() {
            tracing::error!(%error, times, "connections cannot be accepted; it is tried again and again");
        }
        sleep_until(Instant::now() + ACCEPT_PAUSE).await;
    }
}

fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    let (idle, interval, count) = TCP_KEEPALIVE;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, idle)?;
    sockopt::set_tcp_keepintvl(stream, interval)?;
    sockopt::set_tcp_keepcnt(stream, count)
}

/// Logs why connections end, throttled: peers choose their number.
fn log(ending: &Ending, peer: SocketAddr, failures: &LogThrottle) {
    let error = ending.error.as_deref().unwrap_or_default();
    match ending.end {
        End::Closed | End::Idle => tracing::debug!(%peer, end = ?ending.end, "a connection ended"),
        end => match failures.admit() {
            Some(times) => tracing::info!(%peer, ?end, error, times, "a connection was ended"),
            None => tracing::debug!(%peer, ?end, error, "a connection was ended"),
        },
    }
}

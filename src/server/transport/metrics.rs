//! Metrics of connections.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The counters of a server's connections. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Open connections, handshakes included.
    pub open: Gauge,
    /// Ended connections, by reason.
    pub ended: Family<Ended, Counter>,
    /// Calls that were reset because they waited for the peer for too long.
    pub idle_calls: Counter,
    /// Failed accepts, mostly for want of file descriptors.
    pub accept_errors: Counter,
    /// Reloads of changed certificate files, by outcome.
    pub reloads: Family<Reload, Counter>,
    /// When the server's certificate expires, in seconds since 1970; 0 without TLS.
    pub certificate_expires: Gauge,
}

/// The label of ended connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ended {
    /// See [`End`].
    pub reason: End,
}

/// The reason that a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum End {
    /// The peer closed it, or the server stopped.
    Closed,
    /// There were too many.
    Refused,
    /// TLS could not be agreed on, or the peer did not speak HTTP/2.
    Handshake,
    /// The peer did not begin to speak in time.
    HandshakeTimeout,
    /// It had no calls for too long.
    Idle,
    /// The peer did not answer a ping.
    Keepalive,
    /// A write to the peer timed out.
    Stalled,
    /// The peer broke the rules of HTTP/2 or a limit, or the network failed.
    Error,
}

/// The label of reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reload {
    /// See [`Outcome`].
    pub outcome: Outcome,
}

/// The outcome of a reload of certificate files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// New connections use them.
    Taken,
    /// New connections use the previous files.
    Refused,
}

impl Metrics {
    /// Registers them under their names, which the registry prefixes.
    pub(in crate::server) fn register(&self, registry: &mut Registry) {
        registry.register(
            "connections_open",
            "Connections that are open, handshakes included",
            self.open.clone(),
        );
        registry.register(
            "connections_ended",
            "Connections that ended, by reason",
            self.ended.clone(),
        );
        registry.register(
            "idle_calls_ended",
            "Calls that were reset because the peer let them wait for too long",
            self.idle_calls.clone(),
        );
        registry.register(
            "accept_errors",
            "How often no connection could be accepted, mostly for want of file descriptors",
            self.accept_errors.clone(),
        );
        registry.register(
            "tls_reloads",
            "How often changed certificate files were taken or refused",
            self.reloads.clone(),
        );
        registry.register(
            "tls_certificate_expires_timestamp_seconds",
            "When the server's certificate expires, in seconds since 1970; 0 without TLS",
            self.certificate_expires.clone(),
        );
    }

    /// Counts a connection as open until what this gives is dropped.
    pub(super) fn opened(&self) -> Open {
        self.open.inc();
        Open(self.open.clone())
    }

    pub(super) fn ended(&self, reason: End) {
        self.ended.get_or_create(&Ended { reason }).inc();
    }

    pub(super) fn reloaded(&self, outcome: Outcome) {
        self.reloads.get_or_create(&Reload { outcome }).inc();
    }
}

/// A connection that is counted.
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

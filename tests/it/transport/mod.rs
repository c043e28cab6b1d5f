//! What a connection may do, and what the server answers one that does something else: real sockets, TLS, raw frames.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

use std::time::Duration;

use article_store::server::transport::{Config, End, Ended};
use tokio::time::{interval, timeout};

use crate::harness::LIMIT;

mod exposure;
mod hostile;
mod limits;
mod peer;
mod tls;

/// Limits of time that a test reaches soon.
fn brief() -> Config {
    Config {
        handshake_timeout: Duration::from_millis(300),
        keepalive_interval: Duration::from_millis(200),
        keepalive_timeout: Duration::from_millis(200),
        write_timeout: Duration::from_millis(300),
        ..Config::default()
    }
}

/// How many connections ended for a reason.
fn ended(config: &Config, reason: End) -> u64 {
    config.metrics.ended.get_or_create(&Ended { reason }).get()
}

/// Waits until something holds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let mut tick = interval(Duration::from_millis(10));
    let waiting = async {
        while !holds() {
            tick.tick().await;
        }
    };
    timeout(LIMIT, waiting).await.expect(what);
}

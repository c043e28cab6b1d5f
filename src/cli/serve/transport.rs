//! The flags of `serve` that limit what a connection may take.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::duration::duration;
use crate::server::transport::{Config, Metrics, Tls};

/// See [`Config`], which these make.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connections")]
pub(super) struct TransportArgs {
    /// The most open connections; others are closed at once. Each takes a file descriptor, and memory for its calls.
    #[arg(long, value_name = "NUMBER", default_value = "1024")]
    max_connections: NonZeroUsize,
    /// The most concurrent calls of a connection, watches included; clients queue others. A higher limit lets one
    /// client take more of the server.
    #[arg(long, value_name = "NUMBER", default_value = "100")]
    max_streams: NonZeroU32,
    /// The most calls that a client may reset before the server has started them; more is a flood, and closes the
    /// connection [default: --max-streams, so that a client can cancel all of its calls at once].
    #[arg(long, value_name = "NUMBER")]
    max_resets: Option<NonZeroU32>,
    /// The largest headers of a call in bytes, plus 32 for each; larger ones are answered with HTTP status 431.
    /// Clients with large tokens may need more.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 10, value_parser = clap::value_parser!(u32).range(1 << 10..=1 << 20))]
    max_header_bytes: u32,
    /// The handshake timeout, TLS included, also for closing after GOAWAY. Shorter fails clients on slow networks,
    /// longer lets silent peers hold connections.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    handshake_timeout: Duration,
    /// The interval of keepalive pings on a silent connection. Keep it below the time after which a network on the
    /// way forgets silent connections.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = some_time)]
    keepalive_interval: Duration,
    /// The time to answer a keepalive ping; then the connection is closed with its calls.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = some_time)]
    keepalive_timeout: Duration,
    /// The idle timeout: of a connection without calls (it is closed with GOAWAY), and of a call whose peer neither
    /// sends its request nor reads its answer (it is reset). A watch that waits for changes is not idle.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = some_time)]
    idle_timeout: Duration,
    /// The write timeout: how long the network may accept nothing before the connection is closed. A watcher that
    /// reads slowly within the flow control of HTTP/2 is not affected.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = some_time)]
    write_timeout: Duration,
}

/// Descriptors for the store, the log and what connects to others.
const OTHER_DESCRIPTORS: u64 = 64;

impl TransportArgs {
    /// Lets this process open as many files as it may. The limit that it begins with, often 1,024, is meant for programs
    /// that cannot have more; without descriptors connections wait to be accepted.
    pub(super) fn raise_descriptor_limit(&self) {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        // Where that is forbidden the limit stays, and is judged below.
        let _ = setrlimit(Resource::Nofile, raised);
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let needed = self.max_connections.get() as u64 + OTHER_DESCRIPTORS;
        if limit < needed {
            tracing::warn!(
                limit,
                needed,
                "fewer files can be open than --max-connections needs"
            );
        }
    }

    pub(super) fn config(&self, tls: Option<Tls>, metrics: Metrics) -> Config {
        Config {
            max_connections: self.max_connections.get(),
            max_streams: self.max_streams.get(),
            max_resets: self.max_resets.unwrap_or(self.max_streams).get(),
            max_header_bytes: self.max_header_bytes,
            handshake_timeout: self.handshake_timeout,
            keepalive_interval: self.keepalive_interval,
            keepalive_timeout: self.keepalive_timeout,
            idle_timeout: self.idle_timeout,
            write_timeout: self.write_timeout,
            tls,
            metrics,
        }
    }
}

/// Nothing happens within no time.
fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be more than nothing".into()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        transport: TransportArgs,
    }

    #[test]
    fn the_defaults_are_those_of_the_server() {
        let config = Flags::parse_from(["serve"])
            .transport
            .config(None, Metrics::default());
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        for wrong in [
            "--max-connections=0",
            "--max-streams=0",
            "--idle-timeout=0s",
            "--max-header-bytes=100",
        ] {
            assert!(Flags::try_parse_from(["serve", wrong]).is_err(), "{wrong}");
        }
    }
}

//! The flags of `serve` that limit what a connection may take.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::duration::duration;
use crate::server::transport::{Config, Tls};

/// See [`Config`], which these make.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connections")]
pub(super) struct TransportArgs {
    /// How many connections may be open; one more is closed at once. Each takes a file descriptor, and its memory grows
    /// with its calls.
    #[arg(long, value_name = "NUMBER", default_value = "1024")]
    max_connections: NonZeroUsize,
    /// How many calls a connection may carry at a time, watches included; clients let further ones wait. More lets one
    /// client take more of the server.
    #[arg(long, value_name = "NUMBER", default_value = "100")]
    max_streams: NonZeroU32,
    /// How many calls a client may give up on a connection before the server has got to them; with one more it is taken for
    /// a flood and the connection is closed. As many as `--max-streams` if not given, so that a client can give up all of its
    /// calls at once.
    #[arg(long, value_name = "NUMBER")]
    max_resets: Option<NonZeroU32>,
    /// The largest headers of a call in bytes, 32 added for each; a call with more is answered with HTTP status 431.
    /// Clients with large tokens may need more.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 10, value_parser = clap::value_parser!(u32).range(1 << 10..=1 << 20))]
    max_header_bytes: u32,
    /// How long a peer may take to begin, TLS included, and to go when it is told to. Shorter hurts clients on slow
    /// networks, longer lets silent peers hold more connections.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    handshake_timeout: Duration,
    /// How long a peer may be silent before it is asked whether it is there. Longer than a network on the way forgets
    /// silent connections makes calls hang.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = some_time)]
    keepalive_interval: Duration,
    /// How long a peer may take to answer that; its connection is closed then, with what runs on it.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = some_time)]
    keepalive_timeout: Duration,
    /// How long a connection may be without a call before it is closed, politely: clients connect again at their next
    /// one. And how long a call may wait for a peer that sends nothing more of a request, or takes nothing more of an
    /// answer, before it is reset; a watch that waits for news is not meant.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = some_time)]
    idle_timeout: Duration,
    /// How long a peer's network may take nothing of what is sent before the connection is closed. A watcher that reads
    /// slowly by the rules of HTTP/2 is not meant.
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

    pub(super) fn config(&self, tls: Option<Tls>) -> Config {
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
            ..Config::default()
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
        let config = Flags::parse_from(["serve"]).transport.config(None);
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

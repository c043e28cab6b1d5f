//! Connects, and probes the peer: one that is silent, or does not speak gRPC, is reported before the first call.

use std::error::Error as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{Failure, innermost};

/// The HTTP/2 connection preface, with empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The time limit of [`greeting`].
const GREETING_LIMIT: Duration = Duration::from_secs(1);

/// Connects within a limit. The peer must answer a call of the health service; the answer itself does not matter.
pub(super) async fn connect(endpoint: &Endpoint, address: &str, limit: Duration) -> Result<Channel, Failure> {
    let connected = timeout(limit, async {
        let channel = endpoint.connect().await.map_err(|error| {
            Failure::failed(format!(
                "no server answers at {address}: {}\nstart one with `article-store serve`, or name another with --server \
                 or ARTICLE_STORE_SERVER",
                innermost(&error)
            ))
        })?;
        let asked = HealthClient::new(channel.clone())
            .check(HealthCheckRequest::default())
            .await;
        match asked.err().filter(|status| status.source().is_some()) {
            None => Ok(channel),
            Some(status) => {
                let what = greeting(endpoint).await;
                let error = status.source().map(innermost).unwrap_or_default();
                Err(Failure::failed(format!("{address} is {what}: {error}")))
            }
        }
    });
    connected.await.unwrap_or_else(|_| {
        Err(Failure::failed(format!(
            "no server answers at {address} within {limit:?}: nothing came back"
        )))
    })
}

/// Names the protocol of a peer by its first bytes.
async fn greeting(endpoint: &Endpoint) -> &'static str {
    let uri = endpoint.uri();
    let read = async {
        let host = uri.host()?.trim_matches(['[', ']']);
        let mut peer = TcpStream::connect((host, uri.port_u16().unwrap_or(80)))
            .await
            .ok()?;
        peer.write_all(PREFACE).await.ok()?;
        let mut first = [0; 5];
        peer.read_exact(&mut first).await.ok()?;
        Some(first)
    };
    if uri.scheme_str() == Some("https") {
        return "a server that speaks TLS, but not gRPC";
    }
    match timeout(GREETING_LIMIT, read).await {
        Ok(Some([b'H', b'T', b'T', b'P', b'/'])) => "a server of HTTP/1, and not of gRPC",
        // A TLS alert.
        Ok(Some([0x15, 3, ..])) => "a server of TLS (use https://)",
        _ => "no gRPC server",
    }
}

//! Calls that no generated client would make.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on panics"
)]

use h2::RecvStream;
use http::HeaderMap;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Status;

use super::{Server, within};

/// A call by hand, on a connection of its own: tonic's client has a timer of its own, and reads streams ahead.
pub(crate) struct BareCall {
    /// Of the answer.
    pub(crate) headers: HeaderMap,
    body: Option<RecvStream>,
    _connection: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl BareCall {
    /// Begins a call with these headers and this message.
    pub(crate) async fn begin(
        server: &Server,
        path: &str,
        headers: &[(&str, &str)],
        message: &impl prost::Message,
    ) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = AbortOnDrop(tokio::spawn(async { drop(connection.await) }));
        let mut request = http::Request::post(format!("http://{}{path}", server.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(frame(&message.encode_to_vec()).into(), true)
            .unwrap();
        let (head, body) = within(answer).await.unwrap().into_parts();
        Self {
            headers: head.headers,
            body: (!body.is_end_stream()).then_some(body),
            _connection: connection,
        }
    }

    /// The status that the call ends with, whatever it answers before, and the headers or trailers that hold it.
    pub(crate) async fn end(mut self) -> (Status, HeaderMap) {
        let Some(mut body) = self.body.take() else {
            return (
                Status::from_header_map(&self.headers).unwrap(),
                self.headers.clone(),
            );
        };
        while let Some(data) = within(body.data()).await {
            let length = data.unwrap().len();
            body.flow_control().release_capacity(length).unwrap();
        }
        let trailers = within(body.trailers()).await.unwrap().expect("trailers");
        (Status::from_header_map(&trailers).unwrap(), trailers)
    }
}

/// A gRPC frame.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

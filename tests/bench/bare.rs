//! A bare tonic server: answers fixed bytes, chosen by a header. What it does is what every tonic server must do.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Ready;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use article_store::api::MESSAGE_BYTES;
use article_store::clock::SystemClock;
use article_store::server::auth::{self, Gate};
use article_store::server::{CallLayer, CallLimits};
use bytes::{Buf, BufMut, Bytes};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// The header that says which answer is wanted.
pub(crate) const ANSWER: &str = "x-answer";

/// Serves the files of a directory as answers, with the layers around it that a server for articles has, or without.
pub(crate) fn serve(directory: &Path, with_layers: bool) {
    let answers = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                Bytes::from(std::fs::read(entry.path()).unwrap()),
            )
        })
        .collect();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let bare = Bare(Arc::new(answers));
        let served = if with_layers {
            let gate = Gate::open(&auth::Config::default(), Arc::new(SystemClock)).unwrap();
            let limits = CallLimits::default();
            let layers = CallLayer::new(&limits, MESSAGE_BYTES, Arc::new(gate), Arc::default());
            let mut server = Server::builder().layer(layers);
            server.add_service(bare).serve_with_incoming(incoming).await
        } else {
            Server::builder()
                .add_service(bare)
                .serve_with_incoming(incoming)
                .await
        };
        served.unwrap();
    });
}

#[derive(Clone)]
struct Bare(Arc<HashMap<String, Bytes>>);

impl NamedService for Bare {
    const NAME: &'static str = "articlestore.v1.ArticleService";
}

impl tower::Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answers = self.clone();
        Box::pin(async move { Ok(Grpc::new(RawCodec).unary(answers, request).await) })
    }
}

impl UnaryService<Bytes> for Bare {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let name = request.metadata().get(ANSWER).unwrap().to_str().unwrap();
        std::future::ready(Ok(Response::new(self.0[name].clone())))
    }
}

#[derive(Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> RawCodec {
        RawCodec
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

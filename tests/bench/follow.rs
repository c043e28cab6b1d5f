//! Followers of the change feed: events per second, their delay, and the cost for the server.
//!
//! Followers do not decode what they count, so that the bench itself costs little; each has a stream of its own, and 50
//! share a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use article_store::clock::{Clock, SystemClock};
use article_store::domain::time::Timestamp;
use article_store::pb;
use article_store::pb::translation_service_client::TranslationServiceClient;
use article_store::pb::watch_changes_response::Message as Told;
use bytes::{Buf, Bytes};
use hdrhistogram::Histogram;
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use prost::Message;
use tokio::time::{MissedTickBehavior, interval};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstEncoder;

use super::{ARTICLES, Server, attach, create_all};

const STREAMS: usize = 50;
/// How long writes go on.
const RUN: Duration = Duration::from_secs(5);
/// The pause between two writes while the delay is measured.
const PACE: Duration = Duration::from_millis(50);
/// Clients that write as fast as they can, and the first number of theirs.
const WRITERS: usize = 16;
const FAST: usize = 1_000_000;

/// Leaves messages as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = pb::WatchChangesRequest;
    type Decode = Bytes;
    type Encoder = ProstEncoder<Self::Encode>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}

/// The messages that all followers of a run have received.
#[derive(Default)]
struct Tally {
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Whether how late they are is measured now.
    late: Mutex<Option<Histogram<u64>>>,
}

impl Tally {
    fn take(&self, message: &Bytes) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
        if let Some(late) = &mut *self.late.lock() {
            let arrived = SystemClock.now().as_micros();
            let message = pb::WatchChangesResponse::decode(message.clone()).unwrap();
            if let Some(Told::Change(change)) = message.message {
                let time = change.commit_time.unwrap();
                let committed = Timestamp::from_seconds(time.seconds, time.nanos).unwrap();
                let micros = arrived - committed.as_micros();
                late.record(micros.max(0) as u64).unwrap();
            }
        }
    }

    /// Waits until this many messages were received.
    async fn reach(&self, messages: u64) {
        let mut look = interval(Duration::from_millis(1));
        while self.messages.load(Ordering::Relaxed) < messages {
            look.tick().await;
        }
    }
}

async fn follow(channel: Channel, tally: Arc<Tally>) {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let request = Request::new(pb::WatchChangesRequest {
        checkpoint_interval: Some(prost_types::Duration {
            seconds: 300,
            nanos: 0,
        }),
        ..Default::default()
    });
    let path = PathAndQuery::from_static("/articlestore.v1.ChangeService/WatchChanges");
    let mut messages = client
        .server_streaming(request, path, Raw)
        .await
        .unwrap()
        .into_inner();
    // The server is gone when the run is over.
    while let Ok(Some(message)) = messages.message().await {
        tally.take(&message);
    }
}

/// Attaches another text than any other number.
async fn write(channel: &Channel, number: usize) {
    let request = attach(number * 7919 % ARTICLES, "en", number);
    TranslationServiceClient::new(channel.clone())
        .attach_translation(request)
        .await
        .unwrap();
}

/// Fan-out to this many followers.
pub(crate) async fn bench(followers: usize) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::start("serve", directory.path());
    create_all(&server, ARTICLES).await;
    let channels = server.channels().await;
    // The second attach of an article is one change.
    for number in 0..ARTICLES {
        write(&channels[0], number).await;
    }
    let before = server.memory();
    let tally = Arc::new(Tally::default());
    let mut tasks = Vec::new();
    let mut channel = None;
    for number in 0..followers {
        if number % STREAMS == 0 {
            let endpoint = Channel::from_shared(server.address.clone()).unwrap();
            channel = Some(endpoint.tcp_nodelay(true).connect().await.unwrap());
        }
        tasks.push(tokio::spawn(follow(channel.clone().unwrap(), tally.clone())));
    }
    let mut told = followers as u64;
    tally.reach(told).await;
    let idle = server.memory();

    *tally.late.lock() = Some(Histogram::new(3).unwrap());
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begin = Instant::now();
    let mut number = 0;
    while begin.elapsed() < RUN {
        pace.tick().await;
        write(&channels[number % channels.len()], ARTICLES + number).await;
        number += 1;
    }
    told += (number * followers) as u64;
    tally.reach(told).await;
    let late = tally.late.lock().take().unwrap();

    let (begin, cpu, bytes) = (Instant::now(), server.cpu(), tally.bytes.load(Ordering::Relaxed));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let channel = channels[writer % channels.len()].clone();
            tokio::spawn(async move {
                let mut written = 0;
                while begin.elapsed() < RUN {
                    write(&channel, FAST + written * WRITERS + writer).await;
                    written += 1;
                }
                written
            })
        })
        .collect();
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    let writing = begin.elapsed().as_secs_f64();
    let events = (written * followers) as u64;
    tally.reach(told + events).await;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = (server.cpu() - cpu).as_secs_f64() * 1e6;
    let bytes = (tally.bytes.load(Ordering::Relaxed) - bytes) / events.max(1);
    let ms = |quantile| late.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "feed, {followers} followers: {} a second, told {:.2} ms after the commit (p50), {:.2} ms (p99); as fast as {WRITERS} \
         clients attach, {:.0} commits/s: {:.0} events/s of {bytes} bytes, the last {:.2} s after its commit, server {:.1} µs \
         an event; memory {before:.0} MiB before, {idle:.0} with followers, {:.0} after",
        number / RUN.as_secs() as usize,
        ms(0.5),
        ms(0.99),
        written as f64 / writing,
        events as f64 / seconds,
        seconds - writing,
        cpu / events as f64,
        server.memory()
    );
    for task in tasks {
        task.abort();
    }
}

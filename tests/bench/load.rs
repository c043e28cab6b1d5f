//! A closed loop of clients, and the figures of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use article_store::api::codec::ImportArticlesRequest;
use article_store::pb;
use hdrhistogram::Histogram;
use prost::Message;
use tonic::transport::Channel;

use super::Server;

/// What a run measured.
pub(crate) struct Figures {
    /// Requests per second.
    pub(crate) rate: f64,
    p50: Duration,
    p99: Duration,
    /// CPU time of the server per request, in microseconds.
    cpu: f64,
    /// Requests in each second of the run.
    pub(crate) each_second: Vec<usize>,
}

impl Figures {
    /// The run with the median rate.
    pub(crate) fn median(runs: &[Self]) -> &Self {
        let mut sorted: Vec<&Self> = runs.iter().collect();
        sorted.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        sorted[sorted.len() / 2]
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0}/s, p50 {:.2} ms, p99 {:.2} ms, server {:.1} µs",
            self.rate,
            self.p50.as_secs_f64() * 1e3,
            self.p99.as_secs_f64() * 1e3,
            self.cpu
        )
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Keeps this many calls in flight for a time. Each call gets a channel and its number.
pub(crate) async fn run<F: Future<Output = ()> + Send + 'static>(
    server: &Server,
    channels: Vec<Channel>,
    in_flight: usize,
    time: Duration,
    call: impl Fn(Channel, usize) -> F + Clone + Send + 'static,
) -> Figures {
    let next = Arc::new(AtomicUsize::new(0));
    let (begin, cpu) = (Instant::now(), server.cpu());
    let tasks: Vec<_> = (0..in_flight)
        .map(|worker| {
            let channel = channels[worker % channels.len()].clone();
            let (next, call) = (next.clone(), call.clone());
            tokio::spawn(async move {
                let mut times = Histogram::<u64>::new(3).unwrap();
                let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
                while begin.elapsed() < time {
                    let sent = Instant::now();
                    call(channel.clone(), next.fetch_add(1, Ordering::Relaxed)).await;
                    times.record(sent.elapsed().as_nanos() as u64).unwrap();
                    *seconds.entry(begin.elapsed().as_secs()).or_default() += 1;
                }
                (times, seconds)
            })
        })
        .collect();
    let mut times = Histogram::<u64>::new(3).unwrap();
    let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
    for task in tasks {
        let (of_one, counts) = task.await.unwrap();
        times.add(of_one).unwrap();
        counts
            .into_iter()
            .for_each(|(second, count)| *seconds.entry(second).or_default() += count);
    }
    let elapsed = begin.elapsed().as_secs_f64();
    let whole = time.as_secs() as usize;
    Figures {
        rate: times.len() as f64 / elapsed,
        p50: Duration::from_nanos(times.value_at_quantile(0.5)),
        p99: Duration::from_nanos(times.value_at_quantile(0.99)),
        cpu: (server.cpu() - cpu).as_secs_f64() * 1e6 / times.len() as f64,
        each_second: seconds.into_values().take(whole).collect(),
    }
}

/// The Arabic corpus as items of an import.
pub(crate) fn corpus() -> Option<Vec<ImportArticlesRequest>> {
    let folder = std::env::var("ARTICLE_STORE_TEST_DATA").unwrap_or_else(|_| "../shared/data".into());
    let output = Command::new("xz")
        .args(["-dc", &format!("{folder}/ant-news-ar.jsonl.xz")])
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let items = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .enumerate();
    Some(
        items
            .map(|(number, line)| item(number as u64 + 1, line))
            .collect(),
    )
}

fn item(number: u64, line: &[u8]) -> ImportArticlesRequest {
    let document: serde_json::Value = serde_json::from_slice(line).unwrap();
    let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let segment = |text: &str| pb::Segment {
        text: text.trim().to_owned(),
        ..Default::default()
    };
    let article = pb::Article {
        article_id: text("docno"),
        language: "ar".into(),
        title: Some(segment(&text("title"))),
        lead: Some(segment(&text("abstract"))),
        body: text("text")
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(segment)
            .collect(),
        section: text("cat"),
        publisher: text("src"),
        published: Some(pb::ArticleDate {
            original: text("time"),
            ..Default::default()
        }),
        ..Default::default()
    };
    ImportArticlesRequest {
        item: number,
        article: Some(article.encode_to_vec().into()),
        significance: 0,
    }
}

/// How many items came to which end.
pub(crate) async fn count_results(
    mut answers: tonic::Streaming<pb::ImportArticlesResponse>,
) -> BTreeMap<&'static str, usize> {
    let mut results = BTreeMap::new();
    while let Some(answer) = answers.message().await.unwrap() {
        *results.entry(answer.result().as_str_name()).or_default() += 1;
    }
    results
}

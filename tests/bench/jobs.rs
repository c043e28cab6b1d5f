//! Jobs: claims and completions per second, and the effect of a large request on concurrent writes.

use std::time::{Duration, Instant};

use article_store::pb;
use hdrhistogram::Histogram;
use pb::translation_job_service_client::TranslationJobServiceClient;
use pb::translation_service_client::TranslationServiceClient;
use tonic::transport::Channel;

use super::load::run;
use super::{Server, attach, create_all};

/// Workers that claim and complete.
const WORKERS: usize = 16;
/// Jobs that are done in one run.
const JOBS: usize = 10_000;
/// Articles of the large request.
const REQUESTED: usize = 100_000;
/// Writers beside it, on articles of their own.
const WRITERS: usize = 8;

fn request(languages: &[&str], selection: Selection) -> pb::RequestTranslationsRequest {
    pb::RequestTranslationsRequest {
        selection: Some(selection),
        languages: languages.iter().map(|tag| (*tag).to_owned()).collect(),
        kinds: vec![pb::JobKind::Mt.into()],
        ..Default::default()
    }
}

type Selection = pb::request_translations_request::Selection;

/// Requests all there is by a query, and answers how many jobs were opened and calls it took.
async fn request_all(channel: Channel, languages: &[&str]) -> (usize, usize) {
    let mut client = TranslationJobServiceClient::new(channel);
    let mut asked = request(languages, Selection::Query(pb::ListArticlesRequest::default()));
    let (mut opened, mut calls) = (0, 0);
    loop {
        let answer = client
            .request_translations(asked.clone())
            .await
            .unwrap()
            .into_inner();
        calls += 1;
        let is_new = |job: &&pb::RequestedJob| job.outcome() == pb::RequestOutcome::Opened;
        opened += answer.jobs.iter().filter(is_new).count();
        if answer.next_page_token.is_empty() {
            return (opened, calls);
        }
        asked.page_token = answer.next_page_token;
    }
}

fn completion(job: &pb::ClaimedJob) -> pb::CompleteJobRequest {
    let mut text = pb::TargetText::default();
    for segment in job.segments.iter().filter(|segment| segment.wanted) {
        let source = segment.source.as_ref().unwrap();
        let target = pb::TargetSegment {
            segment_id: source.segment_id.clone(),
            text: format!("the council met in the morning: {}", source.text.len()),
            ..Default::default()
        };
        match source.segment_id.as_str() {
            "title" => text.title = Some(target),
            "lead" => text.lead = Some(target),
            _ => text.body.push(target),
        }
    }
    pb::CompleteJobRequest {
        job_id: job.job.as_ref().unwrap().job_id.clone(),
        lease_token: job.lease_token.clone(),
        agent: Some(pb::Agent {
            kind: pb::AgentKind::Mt.into(),
            engine: "bench".into(),
            ..Default::default()
        }),
        result: Some(pb::complete_job_request::Result::Text(text)),
        ..Default::default()
    }
}

/// Sixteen workers claim one job at a time, or eight, and complete each by itself; all of it durable.
pub(super) async fn claims() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::start("serve", directory.path());
    create_all(&server, JOBS).await;
    for (at_once, language) in [(1, "fr"), (8, "es")] {
        let channels = server.channels().await;
        let begin = Instant::now();
        let (opened, _) = request_all(channels[0].clone(), &[language]).await;
        println!(
            "jobs: {opened} requested in {:.1} s, {:.0}/s",
            begin.elapsed().as_secs_f64(),
            opened as f64 / begin.elapsed().as_secs_f64()
        );
        let (begin, cpu) = (Instant::now(), server.cpu());
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| tokio::spawn(work(channels[worker % channels.len()].clone(), at_once)))
            .collect();
        let (mut claims, mut completions) = (new_histogram(), new_histogram());
        for worker in workers {
            let (claimed, completed) = worker.await.unwrap();
            claims.add(claimed).unwrap();
            completions.add(completed).unwrap();
        }
        let seconds = begin.elapsed().as_secs_f64();
        let done = completions.len() as f64;
        println!(
            "jobs, {WORKERS} workers, {at_once} a claim: {:.0} claimed and completed a second, server {:.0} µs each; \
             claim {}; complete {}",
            done / seconds,
            (server.cpu() - cpu).as_secs_f64() * 1e6 / done,
            quantiles(&claims),
            quantiles(&completions)
        );
    }
    println!("jobs: server memory {:.0} MiB", server.memory());
}

async fn work(channel: Channel, at_once: u32) -> (Histogram<u64>, Histogram<u64>) {
    let mut client = TranslationJobServiceClient::new(channel);
    let (mut claims, mut completions) = (new_histogram(), new_histogram());
    loop {
        let sent = Instant::now();
        let request = pb::ClaimJobsRequest {
            max_jobs: at_once,
            ..Default::default()
        };
        let jobs = client.claim_jobs(request).await.unwrap().into_inner().jobs;
        if jobs.is_empty() {
            return (claims, completions);
        }
        record(&mut claims, sent);
        for job in &jobs {
            let sent = Instant::now();
            client.complete_job(completion(job)).await.unwrap();
            record(&mut completions, sent);
        }
    }
}

/// Attaches before, during and after a request about many articles.
pub(super) async fn requests() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::start("serve", directory.path());
    let begin = Instant::now();
    create_all(&server, REQUESTED).await;
    println!(
        "request: {REQUESTED} articles in {:.0} s",
        begin.elapsed().as_secs_f64()
    );
    let writes = async |time: Duration| {
        run(
            &server,
            server.channels().await,
            WRITERS,
            time,
            |channel, number| async move {
                let request = attach(number * 7919 % REQUESTED, "en", number);
                TranslationServiceClient::new(channel)
                    .attach_translation(request)
                    .await
                    .unwrap();
            },
        )
        .await
    };
    println!(
        "request: {WRITERS} writers before: {}",
        writes(Duration::from_secs(10)).await
    );
    let channel = server.channels().await.remove(0);
    let begin = Instant::now();
    let requesting = tokio::spawn(async move { request_all(channel, &["fr"]).await });
    while !requesting.is_finished() {
        let figures = writes(Duration::from_secs(5)).await;
        println!("request: {WRITERS} writers during: {figures}");
    }
    let (opened, calls) = requesting.await.unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    println!("request: {opened} jobs opened by {calls} calls in at most {seconds:.0} s");
    println!(
        "request: {WRITERS} writers after: {}",
        writes(Duration::from_secs(10)).await
    );
    println!("request: server memory {:.0} MiB", server.memory());
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

fn record(histogram: &mut Histogram<u64>, sent: Instant) {
    histogram.record(sent.elapsed().as_micros() as u64).unwrap();
}

fn quantiles(histogram: &Histogram<u64>) -> String {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.99))
}

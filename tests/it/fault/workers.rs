//! Workers as processes that are killed with jobs in their hands, while the server is killed, too: every job is done exactly
//! once, and its result is there once.
//!
//! The workers are `article-store work`, and their program says the text again. They have no time from anywhere but the
//! lengths of their leases and waits.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use article_store::domain::change::{JobStep, Kind};
use article_store::pb;
use article_store::store::Store;
use futures::{StreamExt, stream};
use pb::admin_service_client::AdminServiceClient;
use pb::article_service_client::ArticleServiceClient;
use pb::translation_job_service_client::TranslationJobServiceClient;
use pb::translation_service_client::TranslationServiceClient;
use tonic::transport::Channel;

use super::process::{PROGRAM, Process, program_at};
use super::{agrees, open, random, times, within_limit};

/// How many jobs there are; many of them are for more workers.
const JOBS: &str = "ARTICLE_STORE_TEST_WORKER_JOBS";
const TEXTS: [&str; 2] = ["افتُتح المرفأ يوم الثلاثاء.", "عادت السفن مساءً: 64 سفينة."];
/// The server is killed once for this many workers.
const SERVER_KILLS: u32 = 5;
const AT_ONCE: usize = 16;

/// A worker process, killed at the end.
struct Worker(Child);

impl Worker {
    fn start(address: &str, name: &str) -> Self {
        let command = Command::new(PROGRAM)
            .args(["work", "--server", address, "--worker", name, "--into", "fr"])
            .args(["--command", "cat", "--lease", "1s", "--wait", "1s"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(command.unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn serve(listen: &str, directory: &Path) -> Process {
    let mut command = program_at(listen, &directory.join("store"), 0);
    command.args(["--shortest-lease-ms", "500"]);
    Process::start(command, &directory.join("log"))
}

async fn connect(address: &str) -> Channel {
    let endpoint = Channel::from_shared(address.to_owned()).unwrap();
    endpoint.connect().await.unwrap()
}

fn id(number: u32) -> String {
    format!("a{number}")
}

fn article(number: u32) -> pb::Article {
    let segment = |text: String| pb::Segment {
        text,
        ..Default::default()
    };
    pb::Article {
        article_id: id(number),
        language: "ar".into(),
        title: Some(segment(format!("الخبر {number}"))),
        body: TEXTS.map(|text| segment(text.to_owned())).to_vec(),
        ..Default::default()
    }
}

async fn order(channel: &Channel, jobs: u32) {
    stream::iter(0..jobs)
        .for_each_concurrent(AT_ONCE, |number| async move {
            let request = pb::CreateArticleRequest {
                article: Some(article(number)),
                ..Default::default()
            };
            let mut client = ArticleServiceClient::new(channel.clone());
            client.create_article(request).await.unwrap();
        })
        .await;
    use pb::request_translations_request::Selection;
    let mut request = pb::RequestTranslationsRequest {
        selection: Some(Selection::Query(pb::ListArticlesRequest::default())),
        languages: vec!["fr".into()],
        kinds: vec![pb::JobKind::Mt.into()],
        options: Some(pb::JobOptions {
            max_attempts: 100,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut client = TranslationJobServiceClient::new(channel.clone());
    loop {
        let answer = client.request_translations(request.clone()).await.unwrap();
        request.page_token = answer.into_inner().next_page_token;
        if request.page_token.is_empty() {
            return;
        }
    }
}

/// Whether there are jobs to do.
async fn is_anything_open(channel: &Channel) -> bool {
    let mut client = TranslationJobServiceClient::new(channel.clone());
    let mut request = pb::ListJobsRequest {
        states: vec![pb::JobState::Pending.into(), pb::JobState::Leased.into()],
        page_size: 1,
        ..Default::default()
    };
    loop {
        let page = client.list_jobs(request.clone()).await.unwrap().into_inner();
        if !page.jobs.is_empty() {
            return true;
        }
        if page.next_page_token.is_empty() {
            return false;
        }
        request.page_token = page.next_page_token;
    }
}

/// The article has its translation, once and by its job.
async fn compare(channel: &Channel, number: u32) {
    let mut client = TranslationServiceClient::new(channel.clone());
    let request = pb::GetTranslationRequest {
        article_id: id(number),
        language: "fr".into(),
        ..Default::default()
    };
    let there = client.get_translation(request).await.unwrap().into_inner();
    let there = there.translation.unwrap();
    assert_eq!(there.title.unwrap().text, format!("الخبر {number}"));
    let texts = there.body.iter().map(|segment| segment.text.as_str());
    assert_eq!(texts.collect::<Vec<_>>(), TEXTS);
    let request = pb::ListProvenanceRequest {
        article_id: id(number),
        language: "fr".into(),
        ..Default::default()
    };
    let records = client.list_provenance(request).await.unwrap().into_inner();
    let jobs: Vec<_> = records.records.into_iter().map(|record| record.job_id).collect();
    assert_eq!(jobs, [format!("a{number}/fr/mt/1")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_done_once_though_workers_and_the_server_are_killed() {
    let jobs = times(JOBS, 30);
    let workers = if std::env::var_os(JOBS).is_some() { 16 } else { 3 };
    // Commits between two kills, about.
    let pace = u64::from(jobs / 8).min(100);
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut server = serve("127.0.0.1:0", directory);
    let address = server.address().await.expect("the server starts");
    let listen = address.strip_prefix("http://").unwrap();
    let mut channel = connect(&address).await;
    order(&channel, jobs).await;
    let start = |number: u32| Worker::start(&address, &format!("w{number}"));
    let mut working: Vec<_> = (0..workers).map(start).collect();
    let (mut started, mut kills, mut server_kills) = (workers, 0, 0);
    let (mut last, mut next) = (0, 0);
    // A pause, so that the processes that are waited for have the machine.
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    let limit = Duration::from_secs(60 + u64::from(jobs));
    let ended = tokio::time::timeout(limit, async {
        loop {
            pause.tick().await;
            let mut client = AdminServiceClient::new(channel.clone());
            let status = client.get_status(pb::GetStatusRequest {}).await.unwrap();
            let seq = status.into_inner().seq;
            if seq < next {
                // Where commits go on there is something to do.
                if std::mem::replace(&mut last, seq) == seq && !is_anything_open(&channel).await {
                    return (server, channel);
                }
                continue;
            }
            next = seq + 1 + random(2 * pace);
            kills += 1;
            let victim = random(working.len() as u64) as usize;
            drop(working.swap_remove(victim));
            if kills % SERVER_KILLS == 0 {
                server_kills += 1;
                server.kill();
                server = serve(listen, directory);
                assert_eq!(server.address().await.as_ref(), Some(&address));
                channel = connect(&address).await;
            }
            working.push(start(started));
            started += 1;
        }
    });
    let (server, channel) = ended.await.expect("all jobs are done in time");
    drop(working);
    within_limit(stream::iter(0..jobs).for_each_concurrent(AT_ONCE, |number| compare(&channel, number)))
        .await;
    drop(channel);
    server.stop().await;

    let store = open(&directory.join("store"));
    agrees(&store).await;
    let mut steps: BTreeMap<String, Vec<JobStep>> = BTreeMap::new();
    for event in store.changes(0, usize::MAX).await.unwrap().commits {
        for event in event.events {
            if let Kind::Job { step, .. } = event.kind {
                steps.entry(event.article.to_string()).or_default().push(step);
            }
        }
    }
    store.close().await.unwrap();
    assert_eq!(steps.len(), jobs as usize);
    let mut claims = 0;
    for (id, steps) in steps {
        let done = steps.iter().filter(|step| **step == JobStep::Done).count();
        assert!(
            done == 1 && steps.last() == Some(&JobStep::Done),
            "{id}: {steps:?}"
        );
        claims += steps.iter().filter(|step| **step == JobStep::Claimed).count();
    }
    println!(
        "{jobs} jobs done once by {claims} claims; {kills} workers and {server_kills} servers were killed"
    );
    assert!(kills > 0 && server_kills > 0);
}

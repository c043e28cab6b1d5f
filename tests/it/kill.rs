//! Kills: the real server is killed under write load over gRPC, and while it opens its store. After each restart every
//! acknowledged write is there as it was acknowledged, and every write that was under way is there once or not at all.
//!
//! `ARTICLE_STORE_TEST_KILLS` says how often, 8 times by default. What a story is made of follows from numbers, so a text
//! that is read back needs no copy to be compared with.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics, and says at the end what it saw"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use article_store::clock::SystemClock;
use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use article_store::pb::attach_translation_request::Content as Sent;
use article_store::pb::translation_service_client::TranslationServiceClient;
use article_store::store::Store;
use article_store::store::kv::KvStore;
use article_store::store::kv::sled::{SledConfig, SledEngine};
use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_article-store");
/// How often to kill.
const KILLS: &str = "ARTICLE_STORE_TEST_KILLS";
/// How long anything may take before the test fails; reading the whole store of a long run takes a while.
const LIMIT: Duration = Duration::from_secs(300);
const WRITERS: usize = 8;
/// A server lives for this many acknowledgements at most.
const LIFE: u64 = 300;
const LANGUAGES: [&str; 3] = ["fr", "de", "sw"];

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below.max(1)
}

async fn within_limit<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("the test hangs")
}

/// A process that serves a directory.
struct Process {
    child: Child,
    first_line: JoinHandle<io::Result<String>>,
}

impl Process {
    fn start(directory: &Path) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.join("log"))
            .unwrap();
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--min-free-bytes", "0"])
            .args(["--log", "warn", "--store"])
            .arg(format!("sled:{}", directory.join("store").display()))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let first_line = spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| line)
        });
        Self { child, first_line }
    }

    /// Where it serves, as soon as it does.
    async fn address(&mut self) -> String {
        let line = (&mut self.first_line).await.unwrap().unwrap();
        let address = line.trim_end().strip_prefix("listening on ");
        format!("http://{}", address.expect("the server starts"))
    }

    fn kill(mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "the server ended by itself");
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the server ended by itself: {status}");
    }

    /// Stops it as an operator does.
    async fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = within_limit(spawn_blocking(move || self.child.wait().unwrap())).await;
        assert!(status.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A write, as it is sent and sent again.
#[derive(Debug, Clone)]
enum Request {
    Create(pb::CreateArticleRequest),
    Revise(pb::UpdateArticleRequest),
    Attach(pb::AttachTranslationRequest),
    Delete(pb::DeleteArticleRequest),
    Undelete(pb::UndeleteArticleRequest),
}

impl Request {
    /// Whether sending it again is safe.
    fn has_id(&self) -> bool {
        let id = match self {
            Self::Create(request) => &request.request_id,
            Self::Revise(request) => &request.request_id,
            Self::Attach(request) => &request.request_id,
            Self::Delete(request) => &request.request_id,
            Self::Undelete(request) => &request.request_id,
        };
        !id.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Article(Box<pb::Article>),
    Translation(Box<pb::TranslationSummary>),
}

/// The parts of a story that the next write depends on.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    /// 0: there is no article yet.
    revision: u32,
    deleted: bool,
    /// Which text each translation has, by language and id.
    translations: BTreeMap<(String, String), u32>,
}

impl State {
    fn candidates(&self, language: &str) -> usize {
        let of_language = |(known, _): &&(String, String)| known == language;
        self.translations.keys().filter(of_language).count()
    }

    /// The number of the next translated text.
    fn next_text(&self) -> u32 {
        self.translations.values().max().copied().unwrap_or_default() + 1
    }

    /// What the request, applied once, makes of this.
    fn after(&self, request: &Request) -> Self {
        let mut state = self.clone();
        match request {
            Request::Create(_) | Request::Revise(_) => state.revision += 1,
            Request::Delete(_) => state.deleted = true,
            Request::Undelete(_) => state.deleted = false,
            Request::Attach(attach) => {
                let number = match self.candidates(&attach.language) {
                    count if attach.new_candidate => count + 1,
                    _ => 1,
                };
                let name = (attach.language.clone(), format!("t{number}"));
                state.translations.insert(name, self.next_text());
            }
        }
        state
    }
}

/// What a story is, as its writer was told or has read.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    state: State,
    /// The article without body and translations.
    article: pb::Article,
    etags: BTreeMap<(String, String), String>,
}

/// An article of one writer, its translations, and what is not known about them.
struct Story {
    name: String,
    paragraphs: u32,
    paragraph_bytes: usize,
    known: Known,
    in_flight: Option<Request>,
}

/// A text that follows from its name, and that compression does not make small.
fn text(name: &str, bytes: usize) -> String {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let mut noise = hasher.finish();
    let mut text = name.to_owned();
    while text.len() < bytes {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        write!(text, " {:x}", noise >> 16).unwrap();
    }
    text
}

fn segment(text: String) -> pb::Segment {
    pb::Segment {
        text,
        ..Default::default()
    }
}

fn target(text: String) -> pb::TargetSegment {
    pb::TargetSegment {
        text,
        ..Default::default()
    }
}

fn basic(article: pb::Article) -> pb::Article {
    pb::Article {
        body: Vec::new(),
        translations: Vec::new(),
        ..article
    }
}

impl Story {
    /// Most are short, some long, and a few as long as a book chapter.
    fn new(name: String) -> Self {
        let (paragraphs, paragraph_bytes) = match random(32) {
            0 => (40, 7_500),
            1..8 => (25, 500),
            _ => (3, 120),
        };
        Self {
            name,
            paragraphs,
            paragraph_bytes,
            known: Known::default(),
            in_flight: None,
        }
    }

    fn url(&self) -> String {
        format!("https://news.example/{}", self.name)
    }

    fn title(&self, revision: u32) -> String {
        format!("{} revision {revision}", self.name)
    }

    /// The body of a revision, each of which changes one paragraph of the last.
    fn body(&self, revision: u32) -> Vec<String> {
        let count = self.paragraphs;
        let changed_at = |part: u32| revision.saturating_sub((revision + count - part) % count).max(1);
        (0..count)
            .map(|part| {
                text(
                    &format!("{} {part} {}", self.name, changed_at(part)),
                    self.paragraph_bytes,
                )
            })
            .collect()
    }

    /// A translated text by its number; the title comes first.
    fn translation(&self, language: &str, number: u32) -> Vec<String> {
        let title = format!("{} {language} {number}", self.name);
        let part = |part| text(&format!("{title} {part}"), self.paragraph_bytes);
        std::iter::once(title.clone())
            .chain((0..self.paragraphs).map(part))
            .collect()
    }

    fn article(&self, revision: u32) -> pb::Article {
        pb::Article {
            article_id: self.name.clone(),
            language: "ar".into(),
            title: Some(segment(self.title(revision))),
            body: self.body(revision).into_iter().map(segment).collect(),
            canonical_url: self.url(),
            ..Default::default()
        }
    }

    /// Something that the writer may do now; half of it can be sent again.
    fn next(&self) -> Request {
        let State {
            revision, deleted, ..
        } = self.known.state;
        let article_id = self.name.clone();
        let etag = String::new();
        let request_id = match random(2) {
            0 => Uuid::new_v4().to_string(),
            _ => String::new(),
        };
        match random(10) {
            _ if revision == 0 => Request::Create(pb::CreateArticleRequest {
                article: Some(self.article(1)),
                request_id,
            }),
            _ if deleted => Request::Undelete(pb::UndeleteArticleRequest {
                article_id,
                etag,
                request_id,
            }),
            0 => Request::Delete(pb::DeleteArticleRequest {
                article_id,
                etag,
                request_id,
            }),
            1..5 => Request::Revise(pb::UpdateArticleRequest {
                article: Some(self.article(revision + 1)),
                etag: self.known.article.etag.clone(),
                request_id,
                ..Default::default()
            }),
            choice => Request::Attach(self.attach(choice, request_id)),
        }
    }

    fn attach(&self, choice: u64, request_id: String) -> pb::AttachTranslationRequest {
        let state = &self.known.state;
        let language = LANGUAGES[random(3) as usize];
        let candidates = state.candidates(language);
        let mut texts = self
            .translation(language, state.next_text())
            .into_iter()
            .map(target);
        pb::AttachTranslationRequest {
            article_id: self.name.clone(),
            language: language.into(),
            source_revision: state.revision,
            content: Some(Sent::Text(pb::TargetText {
                title: texts.next(),
                lead: None,
                body: texts.collect(),
            })),
            new_candidate: choice < 7 && (1..5).contains(&candidates),
            agent: Some(pb::Agent {
                kind: pb::AgentKind::Human.into(),
                person: self.name.clone(),
                ..Default::default()
            }),
            request_id,
            ..Default::default()
        }
    }

    /// Takes in what was acknowledged.
    fn learn(&mut self, request: &Request, answer: Answer) {
        let known = &mut self.known;
        known.state = known.state.after(request);
        match answer {
            Answer::Article(article) => {
                assert_eq!(article.revision, known.state.revision, "{}", self.name);
                known.article = basic(*article);
            }
            Answer::Translation(summary) => {
                let name = (summary.language, summary.translation_id);
                assert_eq!(
                    known.state.translations.get(&name),
                    Some(&(known.state.next_text() - 1))
                );
                known.etags.insert(name, summary.etag);
            }
        }
    }

    /// Compares with what is stored, and finds out what became of the write that was under way. Answers whether it was
    /// applied; one with an id is sent again, so it was.
    async fn settle(&mut self, client: &mut Client) -> Settled {
        let found = client.read(self).await;
        let Some(request) = self.in_flight.take() else {
            assert_eq!(found, self.known, "an acknowledged write is not there");
            return Settled::default();
        };
        let after = self.known.state.after(&request);
        let survived = found.state == after;
        if !survived {
            assert_eq!(found, self.known, "neither before nor after {request:?}");
        }
        self.known = found;
        let retried = request.has_id();
        if retried {
            let first = client.send(&request).await.unwrap();
            let second = client.send(&request).await.unwrap();
            assert_eq!(first, second);
            self.known = client.read(self).await;
            assert_eq!(
                self.known.state, after,
                "a retried request is applied once: {request:?}"
            );
            if let Answer::Article(article) = first {
                assert_eq!(basic(*article), self.known.article);
            }
        }
        Settled {
            in_flight: 1,
            survived: survived.into(),
            applied: (survived || retried).into(),
        }
    }
}

/// What became of the writes that were under way.
#[derive(Debug, Clone, Copy, Default)]
struct Settled {
    in_flight: u64,
    survived: u64,
    applied: u64,
}

#[derive(Clone)]
struct Client {
    articles: ArticleServiceClient<Channel>,
    translations: TranslationServiceClient<Channel>,
}

impl Client {
    async fn connect(address: String) -> Self {
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        Self {
            articles: ArticleServiceClient::new(channel.clone()),
            translations: TranslationServiceClient::new(channel),
        }
    }

    async fn send(&mut self, request: &Request) -> Result<Answer, Status> {
        let articles = &mut self.articles;
        let article = match request.clone() {
            Request::Create(request) => articles.create_article(request).await?.into_inner().article,
            Request::Revise(request) => articles.update_article(request).await?.into_inner().article,
            Request::Delete(request) => articles.delete_article(request).await?.into_inner().article,
            Request::Undelete(request) => articles.undelete_article(request).await?.into_inner().article,
            Request::Attach(request) => {
                let answer = self.translations.attach_translation(request).await?;
                let summary = answer.into_inner().translation.unwrap();
                return Ok(Answer::Translation(Box::new(summary)));
            }
        };
        Ok(Answer::Article(Box::new(article.unwrap())))
    }

    /// Reads all that there is of a story; its texts must be whole. A deleted article does not show its translations,
    /// which are then taken to be what is known of them.
    async fn read(&mut self, story: &Story) -> Known {
        let Some(article) = self.revision(story, None).await else {
            return Known::default();
        };
        for revision in 1..article.revision {
            self.revision(story, Some(revision)).await.unwrap();
        }
        let lookup = pb::LookupArticleRequest {
            alias: Some(pb::lookup_article_request::Alias::CanonicalUrl(story.url())),
            view: pb::ArticleView::Basic.into(),
            show_deleted: true,
        };
        let looked_up = self.articles.lookup_article(lookup).await.unwrap().into_inner();
        let article = basic(article);
        assert_eq!(looked_up.article.map(basic).as_ref(), Some(&article));
        let mut known = Known {
            state: State {
                revision: article.revision,
                deleted: article.delete_time.is_some(),
                translations: BTreeMap::new(),
            },
            article,
            etags: BTreeMap::new(),
        };
        if known.state.deleted {
            known.state.translations = story.known.state.translations.clone();
            known.etags = story.known.etags.clone();
        } else {
            self.read_translations(story, &mut known).await;
        }
        known
    }

    /// An article in a revision, or as it is.
    async fn revision(&mut self, story: &Story, revision: Option<u32>) -> Option<pb::Article> {
        let request = pb::GetArticleRequest {
            article_id: story.name.clone(),
            at: revision.map(pb::get_article_request::At::Revision),
            show_deleted: true,
            ..Default::default()
        };
        let article = match self.articles.get_article(request).await {
            Ok(answer) => answer.into_inner().article.unwrap(),
            Err(status) if status.code() == Code::NotFound => return None,
            Err(status) => panic!("{} at revision {revision:?}: {status:?}", story.name),
        };
        if let Some(revision) = revision {
            assert_eq!(article.revision, revision);
        }
        let title = article.title.as_ref().map(|title| title.text.clone());
        let body = article.body.iter().map(|segment| &segment.text);
        assert!(
            title == Some(story.title(article.revision)) && body.eq(&story.body(article.revision)),
            "{} is torn at revision {}",
            story.name,
            article.revision
        );
        Some(article)
    }

    async fn read_translations(&mut self, story: &Story, known: &mut Known) {
        let request = pb::ListTranslationsRequest {
            article_id: story.name.clone(),
            ..Default::default()
        };
        let listed = self.translations.list_translations(request).await.unwrap();
        for summary in listed.into_inner().translations {
            let request = pb::GetTranslationRequest {
                article_id: story.name.clone(),
                language: summary.language.clone(),
                translation_id: summary.translation_id.clone(),
                at: None,
            };
            let answer = self.translations.get_translation(request).await.unwrap();
            let translation = answer.into_inner().translation.unwrap();
            let title = translation.title.unwrap().text;
            let number = title.rsplit(' ').next().unwrap().parse().unwrap();
            let texts =
                std::iter::once(title).chain(translation.body.into_iter().map(|segment| segment.text));
            assert!(
                texts.eq(story.translation(&summary.language, number)),
                "{} is torn in {}",
                story.name,
                summary.language
            );
            let name = (summary.language, summary.translation_id);
            known.state.translations.insert(name.clone(), number);
            known.etags.insert(name, summary.etag);
        }
    }

    /// The ids of all articles that are not deleted, from the list by date of receipt.
    async fn list(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListArticlesRequest {
                axis: pb::DateAxis::Ingested.into(),
                page_size: 500,
                page_token,
                ..Default::default()
            };
            let page = self.articles.list_articles(request).await.unwrap().into_inner();
            names.extend(page.articles.into_iter().map(|article| article.article_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return names;
            }
        }
    }
}

/// A client that writes stories of its own.
struct Writer {
    name: String,
    stories: Vec<Story>,
    /// The stories that were written to since they were last settled.
    touched: BTreeSet<usize>,
    /// The last write with an id and its answer, as if that had been lost.
    answered: Option<(Request, Answer)>,
    acknowledged: u64,
}

impl Writer {
    fn new(number: usize) -> Self {
        Self {
            name: format!("w{number}"),
            stories: Vec::new(),
            touched: BTreeSet::new(),
            answered: None,
            acknowledged: 0,
        }
    }

    /// Compares what is stored with what was acknowledged: all of it, or what was touched and a sample of the rest.
    async fn settle(mut self, mut client: Client, all: bool) -> (Self, Settled) {
        let mut to_read = std::mem::take(&mut self.touched);
        let count = self.stories.len() as u64;
        if all {
            to_read.extend(0..self.stories.len());
        } else if count > 0 {
            to_read.extend([random(count), random(count)].map(|index| index as usize));
        }
        let mut sum = Settled::default();
        for index in to_read {
            let settled = self.stories[index].settle(&mut client).await;
            sum.in_flight += settled.in_flight;
            sum.survived += settled.survived;
            sum.applied += settled.applied;
        }
        if let Some((request, answer)) = &self.answered {
            assert_eq!(&client.send(request).await.unwrap(), answer, "{request:?}");
        }
        (self, sum)
    }

    /// Writes until the server is killed, and says when a write was acknowledged.
    async fn write(
        mut self,
        mut client: Client,
        said: mpsc::UnboundedSender<()>,
        killed: Arc<AtomicBool>,
    ) -> Self {
        loop {
            let index = self.choose();
            self.touched.insert(index);
            let story = &mut self.stories[index];
            let request = story.next();
            match client.send(&request).await {
                Ok(answer) => {
                    story.learn(&request, answer.clone());
                    self.acknowledged += 1;
                    if request.has_id() {
                        self.answered = Some((request, answer));
                    }
                    let _ = said.send(());
                }
                Err(status) => {
                    assert!(
                        killed.load(Ordering::SeqCst) && status.details().is_empty(),
                        "{status:?}"
                    );
                    story.in_flight = Some(request);
                    return self;
                }
            }
        }
    }

    /// The newest story most of the time, an older one, or a new one.
    fn choose(&mut self) -> usize {
        let count = self.stories.len();
        match random(16) {
            0 | 1 => {}
            2 | 3 if count > 0 => return random(count as u64) as usize,
            _ if count > 0 => return count - 1,
            _ => {}
        }
        self.stories.push(Story::new(format!("{}-{count}", self.name)));
        count
    }
}

/// Opens the directory as the next server would: everything in it agrees, and the log has no gap. Answers how many
/// commits there are.
async fn check(directory: &Path) -> u64 {
    let config = SledConfig {
        min_free_bytes: Some(0),
        ..SledConfig::new(directory.join("store"))
    };
    let store = KvStore::open(SledEngine::open(config).unwrap(), Arc::new(SystemClock), 16 << 20).unwrap();
    let (mut seen, mut time) = (0, None);
    loop {
        let part = store.changes(seen, 10_000).await.unwrap();
        if part.commits.is_empty() {
            assert_eq!(seen, part.head);
            break;
        }
        for commit in part.commits {
            seen += 1;
            assert_eq!(commit.stamp.seq, seen, "the log has a gap");
            assert!(time < Some(commit.stamp.time), "time stands still at {seen}");
            time = Some(commit.stamp.time);
        }
    }
    assert_eq!(store.check().await.unwrap(), []);
    store.close().await.unwrap();
    seen
}

/// All that a run counts.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    while_opening: u32,
    settled: Settled,
}

impl Tally {
    fn applied(&self, writers: &[Writer]) -> u64 {
        self.settled.applied + writers.iter().map(|writer| writer.acknowledged).sum::<u64>()
    }

    async fn settle(&mut self, writers: Vec<Writer>, client: &Client, all: bool) -> Vec<Writer> {
        let settling = writers
            .into_iter()
            .map(|writer| tokio::spawn(writer.settle(client.clone(), all)));
        let mut writers = Vec::new();
        for settled in within_limit(join_all(settling)).await {
            let (writer, settled) = settled.unwrap();
            writers.push(writer);
            self.settled.in_flight += settled.in_flight;
            self.settled.survived += settled.survived;
            self.settled.applied += settled.applied;
        }
        writers
    }
}

/// Lets the writers write until the server has acknowledged so much, and kills it.
async fn kill_under_load(server: Process, client: &Client, writers: Vec<Writer>, life: u64) -> Vec<Writer> {
    let killed = Arc::new(AtomicBool::new(false));
    let (said, mut acknowledgements) = mpsc::unbounded_channel();
    let writing: Vec<_> = writers
        .into_iter()
        .map(|writer| tokio::spawn(writer.write(client.clone(), said.clone(), killed.clone())))
        .collect();
    drop(said);
    for _ in 0..life {
        let acknowledged = within_limit(acknowledgements.recv()).await;
        acknowledged.expect("the server answers until it is killed");
    }
    killed.store(true, Ordering::SeqCst);
    server.kill();
    let written = within_limit(join_all(writing)).await;
    written.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_of_the_server() {
    let kills = std::env::var(KILLS).map_or(8, |kills| kills.parse().unwrap());
    let check_every = (kills / 10).max(4);
    let directory = tempfile::tempdir().unwrap();
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    let mut tally = Tally::default();
    let mut opening = Duration::from_millis(200);
    while tally.kills < kills {
        tally.kills += 1;
        let started = Instant::now();
        let mut server = Process::start(directory.path());
        let address = if tally.kills % 4 == 2 {
            let moment = Duration::from_micros(random(opening.as_micros() as u64));
            tokio::time::timeout(moment, server.address()).await.ok()
        } else {
            Some(within_limit(server.address()).await)
        };
        let Some(address) = address else {
            server.kill();
            tally.while_opening += 1;
            continue;
        };
        opening = started.elapsed();
        let client = Client::connect(address).await;
        writers = tally.settle(writers, &client, false).await;
        let life = random(if random(4) == 0 { 8 } else { LIFE });
        writers = kill_under_load(server, &client, writers, life).await;
        if tally.kills % check_every == 0 {
            let commits = check(directory.path()).await;
            let applied = tally.applied(&writers);
            assert!((applied..=applied + WRITERS as u64).contains(&commits));
            println!("{} kills, {commits} commits", tally.kills);
        }
    }

    let mut server = Process::start(directory.path());
    let address = within_limit(server.address()).await;
    let mut client = Client::connect(address).await;
    writers = tally.settle(writers, &client, true).await;
    let mut listed = client.list().await;
    listed.sort();
    let stories = writers.iter().flat_map(|writer| &writer.stories);
    let mut names: Vec<_> = stories
        .filter(|story| story.known.state.revision > 0 && !story.known.state.deleted)
        .map(|story| story.name.clone())
        .collect();
    names.sort();
    assert!(listed == names, "the list has all articles, each once");
    drop(client);
    server.stop().await;
    let commits = check(directory.path()).await;
    assert_eq!(commits, tally.applied(&writers), "every write is applied once");

    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    assert!(acknowledged > 0);
    println!(
        "{} kills, {} of them while opening; {acknowledged} acknowledged writes to {} articles, all there; {} writes under \
         way, {} of them there; {commits} commits, the check finds nothing",
        tally.kills,
        tally.while_opening,
        names.len(),
        tally.settled.in_flight,
        tally.settled.survived,
    );
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert_eq!(log, "", "the server had nothing to warn of");
}

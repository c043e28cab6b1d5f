//! Followers of the change feed over a server that is killed: a follower that resumes with its last token gets every
//! change once and in order, and its copy equals the store.

use std::collections::BTreeMap;
use std::time::Duration;

use article_store::domain::time::Seq;
use article_store::pb;
use article_store::pb::change_service_client::ChangeServiceClient;
use article_store::store::Store;
use pb::watch_changes_response::Message;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::client::Client;
use super::kill::{kill_under_load, start};
use super::writer::Writer;
use super::{agrees, open, random, times, within_limit};

/// How often to kill; followers break off ten times as often.
const KILLS: &str = "ARTICLE_STORE_TEST_FEED_KILLS";
const WRITERS: usize = 8;
/// A server lives for this many acknowledgements at least, and for as many more at most.
const LIFE: u64 = 80;
/// Followers read this many messages at most before they break off.
const PATIENCE: u64 = 10;

/// What follows from the run: where the server is, and the commit after which nothing comes.
#[derive(Clone)]
struct Run {
    address: watch::Receiver<String>,
    end: watch::Receiver<Option<Seq>>,
}

/// Etags, each with the commit that it is from.
type Etags<K> = BTreeMap<K, (Seq, String)>;

/// A client that keeps a copy of the articles by the change feed.
#[derive(Default)]
struct Follower {
    start: pb::WatchStart,
    token: String,
    /// The changes in the order in which they came.
    told: Vec<pb::Change>,
    items: usize,
    articles: Etags<String>,
    /// By article, language and id.
    translations: Etags<(String, String, String)>,
    /// The newest commit of which nothing more comes.
    passed: Seq,
    connections: u32,
}

fn keep<K: Ord>(etags: &mut Etags<K>, key: K, seq: Seq, etag: &str) {
    let kept = etags.entry(key).or_default();
    if kept.0 <= seq {
        *kept = (seq, etag.to_owned());
    }
}

impl Follower {
    fn new(start: pb::WatchStart) -> Self {
        Self {
            start,
            ..Self::default()
        }
    }

    /// Reads to the end of the feed, over one connection after the other.
    async fn follow(mut self, mut run: Run) -> Self {
        // A pause, so that a server that starts has the machine.
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        while run.end.borrow().is_none_or(|end| self.passed < end) {
            let address = run.address.borrow_and_update().clone();
            if let Err(status) = self.listen(&address, &run).await {
                let details = status.get_error_details();
                let reason = details.error_info().map_or("", |info| &info.reason);
                // A connection that breaks says nothing of its own.
                assert!(matches!(reason, "" | "STORE_UNAVAILABLE"), "{status:?}");
                pause.tick().await;
            }
        }
        self
    }

    /// Reads as long as it likes.
    async fn listen(&mut self, address: &str, run: &Run) -> Result<(), Status> {
        let channel = connect(address).await?;
        let request = pb::WatchChangesRequest {
            resume_token: self.token.clone(),
            start: self.start.into(),
            checkpoint_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            ..Default::default()
        };
        let messages = ChangeServiceClient::new(channel).watch_changes(request).await?;
        let mut messages = messages.into_inner();
        self.connections += 1;
        for _ in 0..=random(PATIENCE) {
            let Some(message) = messages.message().await? else {
                return Err(Status::unavailable("the connection ended"));
            };
            self.take(message);
            if run.end.borrow().is_some_and(|end| self.passed >= end) {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, message: pb::WatchChangesResponse) {
        self.token = message.resume_token;
        match message.message.unwrap() {
            Message::Change(change) => {
                let place = |change: &pb::Change| (change.seq, change.ordinal);
                let last = self.told.last().map(place);
                assert!(last < Some(place(&change)), "{change:?} comes after {last:?}");
                self.passed = change.seq - 1;
                self.apply(&change);
                self.told.push(change);
            }
            Message::SnapshotItem(item) => {
                self.items += 1;
                keep(&mut self.articles, item.article_id.clone(), item.seq, &item.etag);
                for of in item.translations {
                    let key = (item.article_id.clone(), of.language, of.translation_id);
                    keep(&mut self.translations, key, of.seq, &of.etag);
                }
            }
            Message::Checkpoint(checkpoint) => self.passed = checkpoint.seq,
            Message::SnapshotEnd(_) => {}
        }
    }

    fn apply(&mut self, change: &pb::Change) {
        let (seq, article) = (change.seq, change.article_id.clone());
        if change.language.is_empty() {
            keep(&mut self.articles, article, seq, &change.etag);
        } else if !change.translation_id.is_empty() {
            let key = (article, change.language.clone(), change.translation_id.clone());
            keep(&mut self.translations, key, seq, &change.etag);
        }
    }

    /// What it has kept, without the commits.
    fn kept(&self) -> Kept {
        let plain = |(_, etag): &(Seq, String)| etag.clone();
        Kept {
            articles: self
                .articles
                .iter()
                .map(|(key, etag)| (key.clone(), plain(etag)))
                .collect(),
            translations: self
                .translations
                .iter()
                .map(|(key, etag)| (key.clone(), plain(etag)))
                .collect(),
        }
    }
}

async fn connect(address: &str) -> Result<Channel, Status> {
    let endpoint = Endpoint::from_shared(address.to_owned()).unwrap();
    let connected = endpoint.connect().await;
    connected.map_err(|error| Status::new(Code::Unavailable, error.to_string()))
}

/// The etags of all articles and translations.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    articles: BTreeMap<String, String>,
    translations: BTreeMap<(String, String, String), String>,
}

impl Kept {
    /// What a store has.
    async fn of(store: &dyn Store) -> Self {
        let (mut articles, mut translations) = (BTreeMap::new(), BTreeMap::new());
        for state in store.scan(None, usize::MAX).await.unwrap() {
            let id = state.head.id.to_string();
            articles.insert(id.clone(), state.head.current.etag.to_string());
            for slot in state.slots.values() {
                for translation in &slot.translations {
                    let key = (id.clone(), slot.language.to_string(), translation.id.to_string());
                    translations.insert(key, translation.etag.to_string());
                }
            }
        }
        Self {
            articles,
            translations,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_that_break_off_meet_every_change_once_though_the_server_is_killed() {
    let kills = times(KILLS, 5);
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut server = start(directory);
    let address = server.address().await.expect("the server starts");
    let (tell_address, addresses) = watch::channel(address.clone());
    let (tell_end, end) = watch::channel(None);
    let run = Run {
        address: addresses,
        end,
    };
    let mut client = Client::connect(address).await;
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    let mut following = vec![tokio::spawn(
        Follower::new(pb::WatchStart::Oldest).follow(run.clone()),
    )];
    for kill in 0..kills {
        let life = LIFE + random(LIFE);
        writers = kill_under_load(server, &client, writers, life).await;
        server = start(directory);
        let address = server.address().await.expect("the server starts");
        client = Client::connect(address.clone()).await;
        tell_address.send(address).unwrap();
        let settling = writers
            .into_iter()
            .map(|writer| writer.settle(client.clone(), false));
        let settled = within_limit(futures::future::join_all(settling)).await;
        writers = settled.into_iter().map(|(writer, _)| writer).collect();
        if kill % 4 == 0 {
            // One that comes late begins with a snapshot.
            following.push(tokio::spawn(
                Follower::new(pb::WatchStart::Snapshot).follow(run.clone()),
            ));
        }
    }
    let status = pb::admin_service_client::AdminServiceClient::new(
        connect(&run.address.borrow().clone()).await.unwrap(),
    )
    .get_status(pb::GetStatusRequest {})
    .await;
    let head = status.unwrap().into_inner().seq;
    tell_end.send(Some(head)).unwrap();
    let mut followers = Vec::new();
    for follower in within_limit(futures::future::join_all(following)).await {
        followers.push(follower.unwrap());
    }
    drop(client);
    server.stop().await;

    let store = open(&directory.join("store"));
    assert_eq!(agrees(&store).await, head);
    let stored = Kept::of(&store).await;
    let log = store.changes(0, usize::MAX).await.unwrap().commits;
    store.close().await.unwrap();
    let logged = log.iter().flat_map(|commit| {
        let events = (0..).zip(&commit.events);
        events.map(|(ordinal, event)| {
            let etag = event.etag.map(|etag| etag.to_string()).unwrap_or_default();
            (commit.stamp.seq, ordinal, event.article.to_string(), etag)
        })
    });
    let logged: Vec<(Seq, u32, String, String)> = logged.collect();
    for follower in &followers {
        let told = follower.told.iter();
        let told: Vec<_> = told
            .map(|change| {
                (
                    change.seq,
                    change.ordinal,
                    change.article_id.clone(),
                    change.etag.clone(),
                )
            })
            .collect();
        let from = match follower.start {
            pb::WatchStart::Oldest => 0,
            _ => logged.len() - told.len(),
        };
        assert!(told == logged[from..], "a change is missing, or is another one");
        assert_eq!(follower.kept(), stored);
        println!(
            "{} items and {} changes over {} connections to {} servers",
            follower.items,
            told.len(),
            follower.connections,
            kills + 1
        );
    }
    let first = followers.first().unwrap();
    assert!(
        first.connections >= 10 * kills,
        "{} connections",
        first.connections
    );
    assert!(followers.iter().any(|follower| follower.items > 0));
}

//! The change feed: every change once and in order from any position, limited to what the caller may read.

use article_store::domain::retention::LogRetention;
use article_store::domain::time::Timestamp;
use article_store::pb;
use article_store::store::Sweep;
use futures::StreamExt;
use futures::stream;
use pb::ChangeKind as Kind;
use pb::watch_changes_response::Message;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use super::{article, attach, create, rewrite, small_form, update};
use crate::harness::{Failure, LIMIT, Server, blames, fails, failure};

mod snapshot;
mod streams;
mod told;

/// A stream of changes, and the token of what was read last.
struct Follower {
    stream: Streaming<pb::WatchChangesResponse>,
    token: String,
}

fn watch(start: pb::WatchStart) -> pb::WatchChangesRequest {
    pb::WatchChangesRequest {
        start: start.into(),
        ..Default::default()
    }
}

pub(super) fn oldest() -> pb::WatchChangesRequest {
    watch(pb::WatchStart::Oldest)
}

pub(super) fn resume(token: &str) -> pb::WatchChangesRequest {
    pb::WatchChangesRequest {
        resume_token: token.into(),
        ..Default::default()
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

impl Follower {
    async fn begin(server: &Server, request: pb::WatchChangesRequest) -> Self {
        let (token, start) = (request.resume_token.clone(), request.start());
        let stream = server
            .changes()
            .watch_changes(request)
            .await
            .unwrap()
            .into_inner();
        let mut follower = Self { stream, token };
        if follower.token.is_empty() {
            let checkpoint = follower.checkpoint().await;
            let is_snapshot = start == pb::WatchStart::Snapshot;
            assert!(!is_snapshot || checkpoint == pb::Checkpoint::default());
        }
        follower
    }

    /// From the next commit on.
    async fn now(server: &Server) -> Self {
        Self::begin(server, watch(pb::WatchStart::Now)).await
    }

    async fn message(&mut self) -> Result<Message, Status> {
        let message = timeout(LIMIT, self.stream.message())
            .await
            .expect("there is a message");
        let message = message?.expect("the stream does not end by itself");
        self.token = message.resume_token;
        Ok(message.message.unwrap())
    }

    async fn checkpoint(&mut self) -> pb::Checkpoint {
        match self.message().await.unwrap() {
            Message::Checkpoint(checkpoint) => checkpoint,
            other => panic!("{other:?}"),
        }
    }

    /// The next change.
    async fn change(&mut self) -> pb::Change {
        let next = async {
            loop {
                match self.message().await.unwrap() {
                    Message::Change(change) => return change,
                    Message::Checkpoint(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        timeout(LIMIT, next).await.expect("there is a change")
    }

    async fn take(&mut self, changes: usize) -> Vec<pb::Change> {
        let mut taken = Vec::new();
        for _ in 0..changes {
            taken.push(self.change().await);
        }
        taken
    }

    /// All changes up to a commit.
    async fn up_to(&mut self, seq: u64) -> Vec<pb::Change> {
        let mut taken = Vec::new();
        loop {
            match self.message().await.unwrap() {
                Message::Change(change) => taken.push(change),
                Message::Checkpoint(checkpoint) if checkpoint.seq >= seq => return taken,
                Message::Checkpoint(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn end(&mut self) -> Failure {
        loop {
            if let Err(status) = self.message().await {
                return failure(&status);
            }
        }
    }
}

/// All changes that there are and that a watch tells of.
async fn all(server: &Server, request: pb::WatchChangesRequest) -> Vec<pb::Change> {
    let request = pb::WatchChangesRequest {
        checkpoint_interval: seconds(1),
        ..request
    };
    let is_filtered = request
        != pb::WatchChangesRequest {
            checkpoint_interval: seconds(1),
            ..oldest()
        };
    let mut follower = Follower::begin(server, request).await;
    if is_filtered {
        return follower.up_to(server.seq().await).await;
    }
    let changes = server.events_after(0).await.len();
    follower.take(changes).await
}

fn kinds(changes: &[pb::Change]) -> Vec<(u64, u32, Kind)> {
    changes
        .iter()
        .map(|change| (change.seq, change.ordinal, change.kind()))
        .collect()
}

async fn withhold(server: &Server, id: &str, status: pb::PublicationStatus) {
    let request = pb::SetPublicationStatusRequest {
        article_id: id.into(),
        publication_status: status.into(),
        ..Default::default()
    };
    server.articles().set_publication_status(request).await.unwrap();
}

async fn purge(server: &Server, id: &str) {
    let request = pb::PurgeArticleRequest {
        article_id: id.into(),
        reason: "court order".into(),
        ..Default::default()
    };
    server.articles().purge_article(request).await.unwrap();
}

/// Two articles with translations, and revisions that change what several of these hold: commits of one to four changes.
async fn history(server: &Server) {
    for id in ["a", "b"] {
        create(server, article(id, &["واحد", "اثنان"])).await;
        for language in ["de", "en", "fr"] {
            attach(server, small_form(id, language, 1, &["one", "two"])).await;
        }
    }
    rewrite(server, "a", &["واحد", "ثلاثة"]).await;
    rewrite(server, "b", &["أربعة"]).await;
    let moved = pb::Article {
        article_id: "b".into(),
        section: "sport".into(),
        ..Default::default()
    };
    update(server, moved, &["section"]).await;
    attach(server, small_form("a", "fr", 2, &["un", "trois"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_says_what_happened() {
    let server = Server::sled().await;
    let mut follower = Follower::now(&server).await;
    let created = create(&server, article("a", &["واحد"])).await;
    let (french, _) = attach(&server, small_form("a", "fr", 1, &["un"])).await;
    let moved = pb::Article {
        article_id: "a".into(),
        section: "sport".into(),
        ..Default::default()
    };
    let moved = update(&server, moved, &["section"]).await;
    let revised = rewrite(&server, "a", &["اثنان"]).await;
    let scope = |section: &str| {
        Some(pb::ChangeScope {
            source_language: "ar".into(),
            section: section.into(),
            publisher: String::new(),
        })
    };
    let changes = follower.take(6).await;
    let times: Vec<_> = changes.iter().map(|change| change.commit_time.unwrap()).collect();
    assert!(times.is_sorted_by_key(|time| (time.seconds, time.nanos)));
    let plain = |seq, ordinal, kind: Kind| pb::Change {
        seq,
        ordinal,
        commit_time: times
            .get(changes.iter().position(|c| c.seq == seq).unwrap())
            .copied(),
        kind: kind.into(),
        article_id: "a".into(),
        revision: 1,
        scope: scope(""),
        ..Default::default()
    };
    let of_french = |change: pb::Change| pb::Change {
        language: "fr".into(),
        translation_id: "t1".into(),
        etag: french.etag.clone(),
        ..change
    };
    let expected = [
        pb::Change {
            etag: created.etag,
            ..plain(1, 0, Kind::ArticleCreated)
        },
        of_french(plain(2, 0, Kind::TranslationAttached)),
        of_french(plain(2, 1, Kind::TranslationSelected)),
        pb::Change {
            etag: moved.etag,
            scope: scope("sport"),
            previous_scope: scope(""),
            ..plain(3, 0, Kind::ArticleMetadataChanged)
        },
        pb::Change {
            etag: revised.etag,
            scope: scope("sport"),
            revision: 2,
            ..plain(4, 0, Kind::ArticleRevised)
        },
        pb::Change {
            scope: scope("sport"),
            revision: 2,
            from_freshness: pb::Freshness::Current.into(),
            to_freshness: pb::Freshness::Incomplete.into(),
            translation_id: String::new(),
            ..of_french(plain(4, 1, Kind::TranslationFreshnessChanged))
        },
    ];
    assert_eq!(changes, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_follower_meets_every_change_in_order_while_others_write() {
    const WRITERS: usize = 8;
    const EACH: usize = 30;
    let server = Server::sled().await;
    let mut followers = Vec::new();
    for _ in 0..4 {
        followers.push(Follower::now(&server).await);
    }
    let changes = stream::iter(0..WRITERS).map(|writer| {
        let server = &server;
        async move {
            for number in 0..EACH {
                let id = format!("a{writer}-{number}");
                create(server, article(&id, &["واحد"])).await;
                attach(server, small_form(&id, "fr", 1, &["un"])).await;
            }
        }
    });
    let following = followers
        .into_iter()
        .map(|mut follower| tokio::spawn(async move { kinds(&follower.take(3 * WRITERS * EACH).await) }));
    let following: Vec<_> = following.collect();
    changes.buffer_unordered(WRITERS).collect::<Vec<()>>().await;
    let stored = server.store.changes(0, usize::MAX).await.unwrap().commits;
    let stored: Vec<_> = stored
        .iter()
        .flat_map(|commit| (0..commit.events.len() as u32).map(|ordinal| (commit.stamp.seq, ordinal)))
        .collect();
    let places = |told: &[(u64, u32, Kind)]| told.iter().map(|(seq, n, _)| (*seq, *n)).collect::<Vec<_>>();
    for told in following {
        assert_eq!(places(&told.await.unwrap()), stored);
    }
    assert_eq!(places(&kinds(&all(&server, oldest()).await)), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_goes_on_behind_any_message() {
    let server = Server::sled().await;
    history(&server).await;
    let mut follower = Follower::begin(&server, oldest()).await;
    let mut told = vec![(follower.token.clone(), None)];
    let count = all(&server, oldest()).await.len();
    for _ in 0..count {
        let change = follower.change().await;
        told.push((follower.token.clone(), Some(change)));
    }
    let changes: Vec<_> = told.iter().filter_map(|(_, change)| change.clone()).collect();
    assert!(
        changes.iter().any(|change| change.ordinal >= 3),
        "commits of several changes"
    );
    let mut server = server;
    for _ in 0..2 {
        for (passed, (token, _)) in told.iter().enumerate() {
            let mut resumed = Follower::begin(&server, resume(token)).await;
            assert_eq!(
                resumed.take(count - passed).await,
                changes[passed..],
                "behind {passed}"
            );
        }
        // The tokens outlive the server.
        server = server.restart().await;
    }
}

pub(super) async fn trim_all(server: &Server) {
    while server.store.expire_requests(Timestamp::MAX).await.unwrap() {}
    let nothing = LogRetention {
        since: Timestamp::MAX,
        bytes: 0,
    };
    while server.store.trim(nothing).await.unwrap() != Sweep::Done {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_where_to_follow_from() {
    let server = Server::memory().await;
    create(&server, article("a", &["واحد"])).await;
    attach(&server, small_form("a", "fr", 1, &["un"])).await;
    let articles = server
        .articles()
        .list_articles(pb::ListArticlesRequest::default())
        .await;
    let revisions = pb::ListRevisionsRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    let revisions = server.articles().list_revisions(revisions).await;
    let translations = pb::ListTranslationsRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    let translations = server.translations().list_translations(translations).await;
    let tokens = [
        articles.unwrap().into_inner().watch_token,
        revisions.unwrap().into_inner().watch_token,
        translations.unwrap().into_inner().watch_token,
    ];
    create(&server, article("b", &["واحد"])).await;
    for token in tokens {
        let mut follower = Follower::begin(&server, resume(&token)).await;
        assert_eq!(follower.change().await.article_id, "b");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_said() {
    let server = Server::memory().await;
    let wrong = pb::WatchChangesRequest {
        start: 7,
        kinds: vec![0, 10, 11],
        source_languages: vec!["ar".into(), "x-".into()],
        target_languages: vec!["fr".into(); 101],
        sections: vec!["a\u{0}".into()],
        checkpoint_interval: seconds(0),
        ..Default::default()
    };
    blames(
        server.changes().watch_changes(wrong).await,
        &[
            "kinds[0]",
            "kinds[2]",
            "source_languages[1]",
            "target_languages",
            "sections[0]",
            "start",
            "checkpoint_interval",
        ],
    );
    let page = pb::ListArticlesRequest {
        page_size: 1,
        ..Default::default()
    };
    for id in ["a", "b"] {
        create(&server, article(id, &["واحد"])).await;
    }
    let page = server.articles().list_articles(page).await.unwrap().into_inner();
    let cut = &page.watch_token[..20];
    for token in ["x", cut, &page.next_page_token] {
        let refused = fails(
            server.changes().watch_changes(resume(token)).await,
            Code::InvalidArgument,
            "BAD_TOKEN",
        );
        assert_eq!(refused.paths(), ["resume_token"]);
    }
    for interval in [1, 300] {
        let request = pb::WatchChangesRequest {
            checkpoint_interval: seconds(interval),
            ..resume(&page.watch_token)
        };
        drop(server.changes().watch_changes(request).await.unwrap());
    }
}

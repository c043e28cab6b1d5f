//! The change feed: every change once and in order, from any place on, told as far as the caller may know it.

use std::collections::BTreeMap;
use std::time::Instant;

use article_store::clock::ManualClock;
use article_store::domain::access::Right;
use article_store::domain::retention::LogRetention;
use article_store::domain::time::Timestamp;
use article_store::pb;
use article_store::server::KeepChanges;
use article_store::store::Sweep;
use futures::StreamExt;
use futures::stream;
use pb::ChangeKind as Kind;
use pb::watch_changes_response::Message;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use super::{article, attach, create, rewrite, small_form, update};
use crate::harness::{Failure, LIMIT, Server, blames, fails, failure};

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

#[tokio::test(flavor = "multi_thread")]
async fn filters_look_at_what_was_and_what_is() {
    let server = Server::memory().await;
    history(&server).await;
    let english = pb::Article {
        language: "en".into(),
        section: "news".into(),
        ..article("c", &["one"])
    };
    create(&server, english).await;
    let everything = all(&server, oldest()).await;
    let told = async |request: pb::WatchChangesRequest| {
        let request = pb::WatchChangesRequest {
            start: pb::WatchStart::Oldest.into(),
            ..request
        };
        all(&server, request).await
    };
    let expected = |wanted: &dyn Fn(&pb::Change) -> bool| {
        everything
            .iter()
            .filter(|change| wanted(change))
            .cloned()
            .collect::<Vec<_>>()
    };

    let kinds = pb::WatchChangesRequest {
        kinds: vec![Kind::ArticleRevised.into(), Kind::TranslationSelected.into()],
        ..Default::default()
    };
    let by_kind = expected(&|c| matches!(c.kind(), Kind::ArticleRevised | Kind::TranslationSelected));
    assert_eq!(told(kinds).await, by_kind);
    assert_eq!(by_kind.len(), 8);

    let into = pb::WatchChangesRequest {
        target_languages: vec!["FR".into()],
        ..Default::default()
    };
    let by_target = expected(&|c| matches!(c.language.as_str(), "" | "fr"));
    assert_eq!(told(into).await, by_target);
    assert!(by_target.len() < everything.len());

    let from = pb::WatchChangesRequest {
        source_languages: vec!["en".into(), "de".into()],
        ..Default::default()
    };
    let by_source = told(from).await;
    assert_eq!(by_source, expected(&|c| c.article_id == "c"));
    assert_eq!(by_source.len(), 1);

    let of = |change: &pb::Change, section: &str| {
        let scopes = [&change.scope, &change.previous_scope];
        scopes.into_iter().flatten().any(|scope| scope.section == section)
    };
    let section = |section: &str| pb::WatchChangesRequest {
        sections: vec![section.into()],
        ..Default::default()
    };
    let sport = told(section("sport")).await;
    assert_eq!(sport, expected(&|c| of(c, "sport")));
    // The one that left a section is told of in both.
    let left = pb::Article {
        article_id: "b".into(),
        section: "news".into(),
        ..Default::default()
    };
    update(&server, left, &["section"]).await;
    let (sport, news) = (told(section("sport")).await, told(section("news")).await);
    assert_eq!(sport.last(), news.last());
    assert_eq!(news.last().unwrap().seq, server.seq().await);
}

/// What is told of an article that the caller must not know more of.
fn only_ids(change: &pb::Change) -> pb::Change {
    pb::Change {
        seq: change.seq,
        ordinal: change.ordinal,
        commit_time: change.commit_time,
        kind: change.kind,
        article_id: change.article_id.clone(),
        hidden: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_hidden_articles_ids_are_told_and_nothing_passes_by_a_filter() {
    let server = Server::sled().await;
    // Somebody follows, so that all of it is in the window.
    let mut follower = Follower::now(&server).await;
    history(&server).await;
    let seen = all(&server, oldest()).await;
    assert!(seen.iter().all(|change| !change.hidden));
    withhold(&server, "a", pb::PublicationStatus::Withheld).await;

    let expect_hidden = |told: &[pb::Change]| {
        for (told, seen) in told.iter().zip(&seen) {
            let expected = if seen.article_id == "a" {
                only_ids(seen)
            } else {
                seen.clone()
            };
            assert_eq!(*told, expected);
        }
        let last = told.last().unwrap();
        assert_eq!((last.kind(), last.hidden), (Kind::PublicationStatusChanged, true));
        assert_eq!(told.len(), seen.len() + 1);
    };
    expect_hidden(&all(&server, oldest()).await);
    // A filter that the article does not match says nothing about it: whatever it is, its changes pass.
    for filter in [
        pb::WatchChangesRequest {
            source_languages: vec!["xx".into()],
            ..oldest()
        },
        pb::WatchChangesRequest {
            target_languages: vec!["xx".into()],
            sections: vec!["none".into()],
            ..oldest()
        },
        pb::WatchChangesRequest {
            source_languages: vec!["ar".into()],
            target_languages: vec!["fr".into()],
            ..oldest()
        },
    ] {
        let told = all(&server, filter).await;
        let of_a: Vec<_> = told
            .into_iter()
            .filter(|change| change.article_id == "a")
            .collect();
        let expected: Vec<_> = seen
            .iter()
            .filter(|c| c.article_id == "a")
            .map(only_ids)
            .collect();
        assert_eq!(of_a[..expected.len()], expected[..]);
    }
    let kinds = pb::WatchChangesRequest {
        kinds: vec![Kind::ArticleCreated.into()],
        ..oldest()
    };
    assert_eq!(all(&server, kinds).await.len(), 2);

    // The same from the log, by a server that has just started; and whoever may see it does.
    let server = server
        .restart_with(|setup| setup.scopes(&[Right::Editorial]))
        .await;
    let told = all(&server, oldest()).await;
    assert_eq!(told[..seen.len()], seen[..]);
    let server = server.restart_with(|setup| setup.scopes(&[])).await;
    expect_hidden(&all(&server, oldest()).await);

    // It comes back with all that is told of it.
    withhold(&server, "a", pb::PublicationStatus::Usable).await;
    let told = all(&server, oldest()).await;
    assert_eq!(told[..seen.len()], seen[..]);
    assert!(told.iter().all(|change| !change.hidden));
    let status = follower.end().await;
    assert_eq!(status.code, Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_purged_articles_ids_are_told_and_deleted_ones_stay_as_they_are() {
    let server = Server::sled().await;
    let follower = Follower::now(&server).await;
    history(&server).await;
    let seen = all(&server, oldest()).await;
    purge(&server, "a").await;
    let delete = pb::DeleteArticleRequest {
        article_id: "b".into(),
        ..Default::default()
    };
    server.articles().delete_article(delete).await.unwrap();
    for restarts in 0..2 {
        let told = all(&server, oldest()).await;
        for (told, seen) in told.iter().zip(&seen) {
            let expected = if seen.article_id == "a" {
                only_ids(seen)
            } else {
                seen.clone()
            };
            assert_eq!(*told, expected, "after {restarts} restarts");
        }
        let rest = &told[seen.len()..];
        assert_eq!((rest[0].kind(), rest[0].hidden), (Kind::ArticlePurged, true));
        assert_eq!((rest[1].kind(), rest[1].hidden), (Kind::ArticleDeleted, false));
    }
    drop(follower);
    let server = server.restart().await;
    assert_eq!(all(&server, oldest()).await.len(), seen.len() + 2);
}

/// What a follower keeps of articles and translations: their etags, each with the commit that it is from.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Replica {
    articles: BTreeMap<String, (u64, String)>,
    translations: BTreeMap<(String, String, String), (u64, String)>,
}

impl Replica {
    fn keep<K: Ord>(map: &mut BTreeMap<K, (u64, String)>, key: K, seq: u64, etag: &str) {
        let kept = map.entry(key).or_default();
        if kept.0 <= seq {
            *kept = (seq, etag.to_owned());
        }
    }

    fn apply(&mut self, message: &Message) {
        match message {
            Message::Change(change) if change.translation_id.is_empty() && change.language.is_empty() => {
                Self::keep(
                    &mut self.articles,
                    change.article_id.clone(),
                    change.seq,
                    &change.etag,
                );
            }
            Message::Change(change) if !change.translation_id.is_empty() => {
                let key = (
                    change.article_id.clone(),
                    change.language.clone(),
                    change.translation_id.clone(),
                );
                Self::keep(&mut self.translations, key, change.seq, &change.etag);
            }
            Message::SnapshotItem(item) => {
                Self::keep(&mut self.articles, item.article_id.clone(), item.seq, &item.etag);
                for translation in &item.translations {
                    let key = (
                        item.article_id.clone(),
                        translation.language.clone(),
                        translation.translation_id.clone(),
                    );
                    Self::keep(&mut self.translations, key, translation.seq, &translation.etag);
                }
            }
            _ => {}
        }
    }

    /// Without the commits: those of a change and of an item may differ where the etag stayed.
    fn etags(&self) -> (Vec<(&String, &String)>, Vec<String>) {
        let articles = self.articles.iter().map(|(id, (_, etag))| (id, etag)).collect();
        let translations = self.translations.iter();
        let translations = translations
            .map(|(key, (_, etag))| format!("{key:?} {etag}"))
            .collect();
        (articles, translations)
    }

    /// What the store has.
    async fn of(server: &Server) -> Self {
        let mut replica = Self::default();
        let mut follower = Follower::begin(server, watch(pb::WatchStart::Snapshot)).await;
        loop {
            match follower.message().await.unwrap() {
                Message::SnapshotEnd(_) => return replica,
                message => replica.apply(&message),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_what_follows_come_to_what_the_store_has() {
    let server = Server::sled().await;
    for number in 0..60 {
        let id = format!("a{number:02}");
        create(&server, article(&id, &["واحد", "اثنان"])).await;
        if number % 2 == 0 {
            attach(&server, small_form(&id, "fr", 1, &["un", "deux"])).await;
        }
    }
    let write = async {
        for round in 0..4u32 {
            for number in (0..60).step_by(3) {
                let id = format!("a{number:02}");
                let text = format!("نص {round}");
                rewrite(&server, &id, &["واحد", &text]).await;
                attach(&server, small_form(&id, "de", round + 2, &["eins", "x"])).await;
                create(&server, article(&format!("b{round}-{number}"), &["واحد"])).await;
            }
        }
    };
    let follow = async {
        let mut replica = Replica::default();
        let (mut resumed, mut items) = (0, 0);
        let request = pb::WatchChangesRequest {
            checkpoint_interval: seconds(1),
            ..watch(pb::WatchStart::Snapshot)
        };
        let mut follower = Follower::begin(&server, request.clone()).await;
        loop {
            let message = follower.message().await.unwrap();
            replica.apply(&message);
            match message {
                Message::SnapshotEnd(_) => break,
                // It goes on behind each item.
                _ => {
                    items += 1;
                    resumed += 1;
                    let request = pb::WatchChangesRequest {
                        resume_token: follower.token.clone(),
                        ..request.clone()
                    };
                    follower = Follower::begin(&server, request).await;
                }
            }
        }
        assert!(items >= 60 && resumed >= 60);
        (replica, follower)
    };
    let ((), (mut replica, mut follower)) = futures::join!(write, follow);
    let end = server.seq().await;
    loop {
        let message = follower.message().await.unwrap();
        replica.apply(&message);
        if matches!(message, Message::Checkpoint(checkpoint) if checkpoint.seq >= end) {
            break;
        }
    }
    let stored = Replica::of(&server).await;
    assert_eq!(replica.etags(), stored.etags());
    assert_eq!(replica.articles.len(), 60 + 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_what_the_filters_and_the_caller_may_see() {
    let server = Server::sled().await;
    history(&server).await;
    for id in ["c", "d", "e"] {
        create(&server, article(id, &["واحد"])).await;
    }
    withhold(&server, "c", pb::PublicationStatus::Withheld).await;
    let delete = pb::DeleteArticleRequest {
        article_id: "d".into(),
        ..Default::default()
    };
    server.articles().delete_article(delete).await.unwrap();
    purge(&server, "e").await;
    let items = async |request: pb::WatchChangesRequest| {
        let mut follower = Follower::begin(&server, request).await;
        let mut items = Vec::new();
        loop {
            match follower.message().await.unwrap() {
                Message::SnapshotItem(item) => items.push(item),
                Message::SnapshotEnd(end) => {
                    assert_eq!(end.articles, items.len() as u64);
                    return items;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let ids = |items: &[pb::SnapshotItem]| -> Vec<String> {
        items.iter().map(|item| item.article_id.clone()).collect()
    };
    let snapshot = watch(pb::WatchStart::Snapshot);
    let everything = items(snapshot.clone()).await;
    assert_eq!(ids(&everything), ["a", "b", "d"]);
    assert_eq!(
        everything.iter().map(|item| item.deleted).collect::<Vec<_>>(),
        [false, false, true]
    );
    // The commit that last wrote the article itself, and that of each translation.
    let a = &everything[0];
    assert_eq!((a.seq, a.revision), (9, 2));
    let translations: Vec<_> = a
        .translations
        .iter()
        .map(|t| {
            (
                t.language.as_str(),
                t.translation_id.as_str(),
                t.seq,
                t.freshness(),
            )
        })
        .collect();
    use pb::Freshness::{Current, Incomplete};
    assert_eq!(
        translations,
        [
            ("de", "t1", 2, Incomplete),
            ("en", "t1", 3, Incomplete),
            ("fr", "t1", 12, Current)
        ]
    );
    let filtered = pb::WatchChangesRequest {
        sections: vec!["sport".into()],
        target_languages: vec!["en".into()],
        ..snapshot
    };
    let sport = items(filtered.clone()).await;
    assert_eq!(ids(&sport), ["b"]);
    assert_eq!(sport[0].translations.len(), 1);

    let mut follower = Follower::begin(&server, filtered.clone()).await;
    assert!(matches!(
        follower.message().await.unwrap(),
        Message::SnapshotItem(_)
    ));
    let other = server.changes().watch_changes(resume(&follower.token)).await;
    let refused = fails(other, Code::InvalidArgument, "BAD_TOKEN");
    assert_eq!(refused.paths(), ["resume_token"]);
    // Behind the snapshot the filters are free.
    assert!(matches!(
        follower.message().await.unwrap(),
        Message::SnapshotEnd(_)
    ));
    Follower::begin(&server, resume(&follower.token)).await;
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
async fn what_is_no_longer_kept_is_said_with_the_way_on() {
    let server = Server::sled().await;
    let mut follower = Follower::now(&server).await;
    let begin = follower.token.clone();
    create(&server, article("a", &["واحد"])).await;
    attach(&server, small_form("a", "fr", 1, &["un"])).await;
    let mut tokens = vec![begin];
    for _ in 0..3 {
        follower.change().await;
        tokens.push(follower.token.clone());
    }
    create(&server, article("b", &["واحد"])).await;
    create(&server, article("c", &["واحد"])).await;
    let pin = server.store.pin(2);
    trim_all(&server).await;
    drop(pin);
    // Who follows at the end does not need the log.
    assert_eq!(follower.change().await.article_id, "b");
    let mut server = server;
    for _ in 0..2 {
        for token in &tokens[..3] {
            let refused = fails(
                server.changes().watch_changes(resume(token)).await,
                Code::OutOfRange,
                "CHANGES_TRIMMED",
            );
            assert_eq!(refused.metadata["floor_seq"], "2");
            let mut resumed = Follower::begin(&server, resume(&refused.metadata["oldest_token"])).await;
            assert_eq!(
                kinds(&resumed.take(2).await),
                [(3, 0, Kind::ArticleCreated), (4, 0, Kind::ArticleCreated)]
            );
        }
        // Nothing that follows this one is gone.
        let mut resumed = Follower::begin(&server, resume(&tokens[3])).await;
        assert_eq!(resumed.change().await.seq, 3);
        let mut oldest = Follower::begin(&server, oldest()).await;
        assert_eq!(oldest.change().await.seq, 3);
        server = server.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_changes_for_as_long_as_it_is_told() {
    let at = |text: &str| {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond()).unwrap()
    };
    let clock = ManualClock::at(at("2022-05-10T00:00:00Z"));
    let keep = |bytes| KeepChanges {
        bytes,
        ..KeepChanges::default()
    };
    let server = Server::sled_with(|setup| setup.clock(clock.clone())).await;
    for (day, id) in [("10", "a"), ("11", "b"), ("12", "c")] {
        clock.set(at(&format!("2022-05-{day}T00:00:00Z")));
        create(&server, article(id, &["واحد"])).await;
    }
    let server = server
        .restart_with(|setup| setup.keep_changes(keep(1 << 20)))
        .await;
    let token = Follower::begin(&server, oldest()).await.token;
    let trimmed = async |server: &Server, floor| {
        let trimmed = async {
            while server.store.changes(0, 0).await.unwrap().floor < floor {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, trimmed).await.expect("the server trims");
        assert_eq!(server.store.changes(0, 0).await.unwrap().floor, floor);
    };
    // A day is left for requests, however little may be kept.
    clock.set(at("2022-05-12T00:00:00Z"));
    let server = server.restart_with(|setup| setup.keep_changes(keep(0))).await;
    trimmed(&server, 1).await;
    // 30 days after the second one.
    clock.set(at("2022-06-10T00:00:01Z"));
    let server = server
        .restart_with(|setup| setup.keep_changes(keep(1 << 20)))
        .await;
    trimmed(&server, 2).await;
    fails(
        server.changes().watch_changes(resume(&token)).await,
        Code::OutOfRange,
        "CHANGES_TRIMMED",
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_store_is_refused() {
    let server = Server::sled().await;
    create(&server, article("a", &["واحد"])).await;
    let token = Follower::now(&server).await.token;
    let backup = tempfile::tempdir().unwrap();
    let file = backup.path().join("backup");
    std::fs::write(&file, super::admin::back_up(&server).await.unwrap().0).unwrap();
    let directory = server.leave().await;

    // A copy of the files that went on elsewhere knows more than the original.
    let other = tempfile::tempdir().unwrap();
    crate::fault::copy(&directory.path().join("data"), &other.path().join("data"));
    let server = Server::again(other).await;
    create(&server, article("b", &["واحد"])).await;
    let beyond = Follower::now(&server).await.token;
    server.stop().await;
    let server = Server::again(directory).await;
    let refused = fails(
        server.changes().watch_changes(resume(&beyond)).await,
        Code::FailedPrecondition,
        "TOKEN_OF_ANOTHER_STORE",
    );
    assert_eq!(
        (
            refused.metadata["seq"].as_str(),
            refused.metadata["head_seq"].as_str()
        ),
        ("2", "1")
    );
    Follower::begin(&server, resume(&token)).await;
    let directory = server.leave().await;

    let data = directory.path().join("data");
    let clock = std::sync::Arc::new(article_store::clock::SystemClock);
    let options = article_store::server::location::StoreOptions {
        cache_bytes: 1 << 20,
        min_free_bytes: Some(0),
    };
    let progress = Box::new(|_: &'static str, _: u64, _: u64| {});
    article_store::server::location::restore(&file, &data, options, true, clock, progress)
        .await
        .unwrap();
    let server = Server::again(directory).await;
    fails(
        server.changes().watch_changes(resume(&token)).await,
        Code::FailedPrecondition,
        "TOKEN_OF_ANOTHER_STORE",
    );
    assert_eq!(all(&server, oldest()).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_tells_its_followers_and_they_go_on_afterwards() {
    let server = Server::sled().await;
    create(&server, article("a", &["واحد"])).await;
    let mut idle = Follower::now(&server).await;
    let mut behind = Follower::begin(&server, oldest()).await;
    create(&server, article("b", &["واحد"])).await;
    assert_eq!(idle.change().await.article_id, "b");
    let started = Instant::now();
    let stopping = tokio::spawn(server.restart());
    for follower in [&mut idle, &mut behind] {
        let status = follower.end().await;
        assert_eq!(
            (status.code, status.reason.as_str()),
            (Code::Unavailable, "STORE_UNAVAILABLE")
        );
        assert!(status.retry, "{status:?}");
    }
    let server = stopping.await.unwrap();
    // The grace is a second, and nobody used it up: a limit far above what a stop takes otherwise.
    assert!(started.elapsed() < LIMIT);
    create(&server, article("c", &["واحد"])).await;
    for follower in [idle, behind] {
        let mut follower = Follower::begin(&server, resume(&follower.token)).await;
        let mut last = follower.change().await;
        while last.article_id != "c" {
            last = follower.change().await;
        }
        assert_eq!(last.seq, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_says_how_far_it_is() {
    let server = Server::memory().await;
    let request = pb::WatchChangesRequest {
        kinds: vec![Kind::ArticlePurged.into()],
        checkpoint_interval: seconds(1),
        ..oldest()
    };
    let mut follower = Follower::begin(&server, request).await;
    let idle = follower.checkpoint().await;
    assert_eq!((idle.seq, idle.commit_time), (0, None));
    // Much happens, and nothing that is wanted.
    let write = async {
        for number in 0.. {
            create(&server, article(&format!("a{number}"), &["واحد"])).await;
        }
    };
    let listen = async {
        let mut last = idle;
        for _ in 0..2 {
            let next = follower.checkpoint().await;
            assert!(next.seq > last.seq && next.commit_time.is_some(), "{next:?}");
            last = next;
        }
    };
    tokio::select! {
        () = write => {}
        () = listen => {}
    }
    purge(&server, "a7").await;
    assert_eq!(follower.change().await.article_id, "a7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_costs_only_itself() {
    const ARTICLES: usize = 4_600;
    let server = Server::memory().await;
    // It takes 4 KiB of the stream, and then nothing for a long time.
    let request = pb::WatchChangesRequest {
        checkpoint_interval: seconds(300),
        ..watch(pb::WatchStart::Now)
    };
    let stream = server
        .narrow_changes(4 << 10)
        .watch_changes(request)
        .await
        .unwrap();
    let mut slow = Follower {
        stream: stream.into_inner(),
        token: String::new(),
    };
    slow.checkpoint().await;
    let mut quick = Follower::now(&server).await;
    let writing = async {
        let writes = stream::iter(0..ARTICLES).map(|number| {
            let server = &server;
            async move { drop(create(server, article(&format!("a{number}"), &["واحد"])).await) }
        });
        writes.buffer_unordered(64).collect::<Vec<()>>().await;
    };
    let reading = async {
        for seq in 1..=ARTICLES as u64 {
            assert_eq!(quick.change().await.seq, seq);
        }
    };
    futures::join!(writing, reading);
    // More has happened than the server holds ready, and what is hidden now must not be told.
    let late = server
        .store
        .changes(ARTICLES as u64 - 1, 1)
        .await
        .unwrap()
        .commits
        .remove(0);
    let late = late.events[0].article.to_string();
    withhold(&server, &late, pb::PublicationStatus::Withheld).await;
    for seq in 1..=ARTICLES as u64 {
        let change = slow.change().await;
        assert_eq!(change.seq, seq);
        assert_eq!(change.hidden, change.article_id == late);
    }
    assert_eq!(slow.change().await.kind(), Kind::PublicationStatusChanged);
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

//! A snapshot and what follows come to what the store has.

use std::collections::BTreeMap;

use super::*;

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

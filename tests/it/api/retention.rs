//! Revisions whose text is no longer kept, as callers meet them.

use std::num::NonZeroU32;

use article_store::clock::ManualClock;
use article_store::domain::retention::Retention;
use article_store::domain::time::Timestamp;
use article_store::pb;
use article_store::store::Sweep;
use pb::get_article_request::At;
use tonic::{Code, Response, Status};

use super::{article, attach, create, get, ids, rewrite, small_form, time, translation};
use crate::harness::{LIMIT, Server, Setup, fails};

pub(super) async fn drop_all_but(server: &Server, newest: u32) {
    let retention = Retention {
        newest: NonZeroU32::new(newest).unwrap(),
        superseded_before: Timestamp::MAX,
    };
    while server.store.drop_revisions(retention).await.unwrap() != Sweep::Done {}
}

pub(super) async fn get_at(server: &Server, at: At) -> Result<Response<pb::GetArticleResponse>, Status> {
    let request = pb::GetArticleRequest {
        article_id: "a".into(),
        at: Some(at),
        ..Default::default()
    };
    server.articles().get_article(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_not_kept_is_named_and_everything_else_is_there() {
    let server = Server::sled().await;
    let first = create(&server, article("a", &["واحد", "اثنان"])).await;
    let then = server.newest_commit().await;
    rewrite(&server, "a", &["واحد", "ثلاثة"]).await;
    attach(&server, small_form("a", "fr", 2, &["x", "y"])).await;
    let translated = server.newest_commit().await;
    for text in ["أربعة", "خمسة", "ستة"] {
        rewrite(&server, "a", &["واحد", text]).await;
    }
    let newest = get(&server, "a").await;
    let french = translation(&server, "a", "fr", "").await;
    drop_all_but(&server, 2).await;

    assert_eq!(get(&server, "a").await, newest);
    assert_eq!(translation(&server, "a", "fr", "").await, french);
    for number in [2, 4, 5] {
        let read = get_at(&server, At::Revision(number)).await.unwrap().into_inner();
        assert_eq!(read.article.unwrap().revision, number);
    }
    for number in [1, 3] {
        let gone = fails(
            get_at(&server, At::Revision(number)).await,
            Code::NotFound,
            "REVISION_NOT_RETAINED",
        );
        assert_eq!(gone.metadata["article_id"], "a");
        assert_eq!(gone.metadata["revision"], number.to_string());
        assert_eq!(
            gone.message,
            format!("the text of revision {number} of article \"a\" is no longer kept")
        );
    }
    let gone = get_at(&server, At::AsOfTime(time(then))).await;
    fails(gone, Code::NotFound, "REVISION_NOT_RETAINED");
    let kept = get_at(&server, At::AsOfTime(time(translated))).await.unwrap();
    assert_eq!(kept.into_inner().article.unwrap().translations.len(), 1);
    fails(
        get_at(&server, At::Revision(6)).await,
        Code::NotFound,
        "REVISION_NOT_FOUND",
    );

    let list = pb::ListRevisionsRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    let listed = server.articles().list_revisions(list).await.unwrap().into_inner();
    let facts: Vec<_> = listed
        .revisions
        .iter()
        .map(|r| (r.revision, r.text_dropped, r.segment_count, r.title.is_empty()))
        .collect();
    assert_eq!(
        facts,
        [
            (5, false, 2, false),
            (4, false, 2, false),
            (3, true, 0, true),
            (2, false, 2, false),
            (1, true, 0, true),
        ]
    );
    assert_eq!(listed.revisions[4].create_time, first.create_time);

    let attach = small_form("a", "de", 1, &["x", "y"]);
    fails(
        server.translations().attach_translation(attach).await,
        Code::NotFound,
        "REVISION_NOT_RETAINED",
    );

    // Its text can come back, under ids that the texts alone tell.
    let back = rewrite(&server, "a", &["واحد", "اثنان"]).await;
    assert_eq!(back.revision, 6);
    assert_eq!(ids(&back)[0], ids(&first)[0]);
    server.check().await;
    let server = server.restart().await;
    assert_eq!(get(&server, "a").await, back);
    fails(
        get_at(&server, At::Revision(3)).await,
        Code::NotFound,
        "REVISION_NOT_RETAINED",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_drops_old_texts_a_day_after_they_were_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(at("2022-05-10T22:45:00Z"));
    let start = |keep| {
        Setup::sled_in(directory.path())
            .clock(clock.clone())
            .keep_revisions(NonZeroU32::new(keep))
            .start()
    };
    let server = start(0).await;
    create(&server, article("a", &["واحد"])).await;
    rewrite(&server, "a", &["اثنان"]).await;
    clock.set(at("2022-05-11T20:00:00Z"));
    rewrite(&server, "a", &["ثلاثة"]).await;
    server.stop().await;

    clock.set(at("2022-05-11T23:00:00Z"));
    let server = start(1).await;
    let gone = async {
        while get_at(&server, At::Revision(1)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone)
        .await
        .expect("the server sweeps");
    fails(
        get_at(&server, At::Revision(1)).await,
        Code::NotFound,
        "REVISION_NOT_RETAINED",
    );
    // It was the newest three hours ago: a request of then may be sent again.
    assert!(get_at(&server, At::Revision(2)).await.is_ok());
    assert_eq!(get(&server, "a").await.revision, 3);
    server.check().await;
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond()).unwrap()
}

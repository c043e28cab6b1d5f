//! The feed as a stream: resumption, its end, and the cost of a slow reader.

use crate::harness::Setup;
use std::time::Instant;

use article_store::clock::ManualClock;
use article_store::server::KeepChanges;

use super::*;

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
    let hold = server.store.hold(2);
    trim_all(&server).await;
    drop(hold);
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
    let server = Setup::sled().clock(clock.clone()).start().await;
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
    // 30 days after the first one.
    clock.set(at("2022-06-09T00:00:01Z"));
    let server = server
        .restart_with(|setup| setup.keep_changes(keep(1 << 20)))
        .await;
    trimmed(&server, 1).await;
    // However young they are, no more may be kept.
    let server = server.restart_with(|setup| setup.keep_changes(keep(0))).await;
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
    std::fs::write(&file, super::super::admin::back_up(&server).await.unwrap().0).unwrap();
    let directory = server.leave().await;

    // A copy of the files that went on elsewhere knows more than the original.
    let other = tempfile::tempdir().unwrap();
    crate::fault::copy(&directory.path().join("data"), &other.path().join("data"));
    let server = Setup::again(other).start().await;
    create(&server, article("b", &["واحد"])).await;
    let beyond = Follower::now(&server).await.token;
    server.stop().await;
    let server = Setup::again(directory).start().await;
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
    let options = article_store::server::store_factory::StoreOptions {
        cache_bytes: 1 << 20,
        min_free_bytes: Some(0),
    };
    let progress = Box::new(|_: &'static str, _: u64, _: u64| {});
    article_store::server::store_factory::restore(&file, &data, options, true, clock, progress)
        .await
        .unwrap();
    let server = Setup::again(directory).start().await;
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
    let stream = pb::change_service_client::ChangeServiceClient::new(server.narrow_channel(4 << 10))
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

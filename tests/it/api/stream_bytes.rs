//! Byte budgets of streams: exports that nobody reads, and imports, hold no more than they may.

use article_store::pb;
use article_store::server::CallLimits;
use futures::StreamExt;

use super::streams::{import, item};
use super::{article, attach, create, small_form};
use crate::harness::{BareCall, Server, Setup, eventually};

const MIB: usize = 1 << 20;
const EXPORT: &str = "/articlestore.v1.ArticleService/ExportArticles";
const ARTICLES: usize = 6;

fn limits(export_bytes: usize, import_bytes: usize) -> CallLimits {
    CallLimits {
        export_bytes,
        import_bytes,
        ..CallLimits::default()
    }
}

/// The value of a gauge.
fn held(server: &Server, name: &str) -> usize {
    let metrics = server.telemetry().metrics().unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

/// Articles of 1.8 MB, each with a translation as large.
async fn large_articles(server: &Server) {
    let long = "x".repeat(1_800_000);
    for number in 0..ARTICLES {
        let id = format!("a{number}");
        create(server, article(&id, &[&long])).await;
        attach(server, small_form(&id, "fr", 1, &[&long])).await;
    }
}

fn all() -> pb::ExportArticlesRequest {
    pb::ExportArticlesRequest {
        include_translations: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_that_nobody_reads_hold_no_more_than_their_budget() {
    const BUDGET: usize = 16 * MIB;
    const METRIC: &str = "article_store_export_held_bytes";
    let server = Setup::memory().calls(limits(BUDGET, BUDGET)).start().await;
    large_articles(&server).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(BareCall::begin(&server, EXPORT, &[], &all()).await);
        assert!(held(&server, METRIC) <= BUDGET / 2);
    }
    // Four of them have an item each; the others wait for room and hold nothing.
    eventually(|| held(&server, METRIC) > 4 * MIB).await;
    assert!(held(&server, METRIC) <= BUDGET / 2);
    // They go on when others end.
    let read = unread.pop().unwrap();
    let rest = tokio::spawn(async move { read.end().await });
    drop(unread);
    let (status, _) = rest.await.unwrap();
    assert_eq!(status.code(), tonic::Code::Ok);
    eventually(|| held(&server, METRIC) == 0).await;
    assert_eq!(server.export().await.len(), 2 * ARTICLES);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_backups_take_their_bytes_from_the_same_budget() {
    const BUDGET: usize = 64 << 10;
    const LONG_IDS: u64 = 1_000;
    const METRIC: &str = "article_store_export_held_bytes";
    const BACKUP: &str = "/articlestore.v1.AdminService/BackupStore";
    const WATCH: &str = "/articlestore.v1.ChangeService/WatchChanges";
    let server = Setup::memory().calls(limits(BUDGET, BUDGET)).start().await;
    // Some hundreds of their states are more than the budget has room for.
    let of = |number| item(number, &article(&format!("{number:0>128}"), &["p"]));
    import(&server, (0..LONG_IDS).map(of).collect()).await;
    let snapshot = pb::WatchChangesRequest {
        start: pb::WatchStart::Snapshot.into(),
        ..Default::default()
    };
    let mut unread = Vec::new();
    for _ in 0..8 {
        unread.push(BareCall::begin(&server, WATCH, &[], &snapshot).await);
        assert!(held(&server, METRIC) <= BUDGET / 2);
    }
    // Unread, each has articles ahead, or waits for room.
    eventually(|| held(&server, METRIC) > 0).await;
    let backup = BareCall::begin(&server, BACKUP, &[], &pb::BackupStoreRequest {}).await;
    drop(unread);
    // It takes the whole share of its caller when that is free, and gives it back.
    let (status, _) = backup.end().await;
    assert!(held(&server, METRIC) <= BUDGET / 2);
    assert_eq!(status.code(), tonic::Code::Ok);
    eventually(|| held(&server, METRIC) == 0).await;
    let mut whole = server
        .changes()
        .watch_changes(snapshot)
        .await
        .unwrap()
        .into_inner();
    let mut items = 0;
    loop {
        use pb::watch_changes_response::Message;
        match whole.message().await.unwrap().unwrap().message.unwrap() {
            Message::SnapshotItem(_) => items += 1,
            Message::SnapshotEnd(end) => break assert_eq!((items, end.articles), (LONG_IDS, LONG_IDS)),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_larger_than_a_share_is_exported_alone() {
    let server = Setup::memory().calls(limits(MIB, MIB)).start().await;
    large_articles(&server).await;
    let exports = futures::future::join_all((0..3).map(|_| server.export())).await;
    assert!(
        exports
            .iter()
            .all(|items| items.len() == 2 * ARTICLES && *items == exports[0])
    );
    assert_eq!(held(&server, "article_store_export_held_bytes"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_take_no_more_than_their_budget() {
    let server = Setup::memory().calls(limits(MIB, 24 * MIB)).start().await;
    let long = "x".repeat(1_800_000);
    let items = |stream: u64| {
        (0..8)
            .map(|n| item(n, &article(&format!("s{stream}-{n}"), &[&long])))
            .collect()
    };
    let imports = (0..3).map(|stream| import(&server, items(stream)));
    let mut imports = futures::stream::iter(imports).buffer_unordered(3);
    while let Some(answers) = imports.next().await {
        assert!(answers.iter().all(|answer| answer.error.is_none()));
        // One item of 1.8 MB takes 10.3 MiB: the share of one caller has room for one.
        assert!(held(&server, "article_store_import_held_bytes") <= 12 * MIB);
    }
    assert_eq!(held(&server, "article_store_import_held_bytes"), 0);
}

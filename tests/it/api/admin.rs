//! What an operator asks of a running server: numbers that are true, a check that finds what is broken, backups that are
//! whole, and compaction, all of it while others write.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use article_store::clock::SystemClock;
use article_store::pb;
use article_store::pb::admin_service_client::AdminServiceClient;
use article_store::server::store_factory::{self, StoreOptions};
use article_store::store::kv::engine::{Direction, Engine, Write};
use article_store::store::kv::sled::{SledConfig, SledEngine};
use pb::backup_store_response::Part;
use pb::check_store_response::Step as CheckStep;
use pb::compact_store_response::Step as CompactStep;
use tempfile::TempDir;
use tonic::{Code, Streaming};

use super::streams::{import, item};
use super::{article, attach, create, full_article, get, rewrite, small_form};
use crate::harness::{LIMIT, Server, Setup, failure, noise};

const OPTIONS: StoreOptions = StoreOptions {
    cache_bytes: 1 << 20,
    min_free_bytes: Some(0),
};

#[tokio::test(flavor = "multi_thread")]
async fn a_status_lists_the_languages_that_have_most() {
    let server = Server::memory().await;
    let items = (0..1_003).map(|number| {
        let large = number > 1_000;
        let of_language = pb::Article {
            language: format!("fr-x-{number:05}"),
            ..article(&format!("a{number}"), &["texte"])
        };
        let second = pb::Article {
            article_id: format!("b{number}"),
            ..of_language.clone()
        };
        [Some(of_language), large.then_some(second)]
    });
    let articles: Vec<_> = items.flatten().flatten().collect();
    let items = (0..)
        .zip(&articles)
        .map(|(number, article)| item(number, article));
    import(&server, items.collect()).await;
    let status = status(&server).await;
    let totals = status.totals.unwrap();
    assert_eq!((status.languages.len(), status.omitted_languages), (1_000, 3));
    assert_eq!(totals.articles, 1_005);
    assert!(
        status
            .languages
            .is_sorted_by_key(|language| language.language.clone())
    );
    let last = status.languages.last().unwrap();
    assert_eq!(
        (last.language.as_str(), last.counts.unwrap().articles),
        ("fr-x-01002", 2)
    );
}

async fn status(server: &Server) -> pb::GetStatusResponse {
    let answer = server.admin().get_status(pb::GetStatusRequest {}).await;
    answer.unwrap().into_inner()
}

fn counts(articles: u64, deleted_articles: u64, revisions: u64, translations: u64) -> pb::StoreCounts {
    pb::StoreCounts {
        articles,
        deleted_articles,
        revisions,
        translations,
    }
}

async fn delete(server: &Server, id: &str) {
    let request = pb::DeleteArticleRequest {
        article_id: id.into(),
        ..Default::default()
    };
    server.articles().delete_article(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_what_was_written() {
    let server = Server::sled().await;
    let empty = status(&server).await;
    assert_eq!((empty.seq, empty.totals), (0, Some(counts(0, 0, 0, 0))));
    assert_eq!(empty.languages, []);

    create(&server, article("a", &["نص"])).await;
    create(&server, full_article("m")).await;
    rewrite(&server, "a", &["آخر"]).await;
    create(&server, article("gone", &["نص"])).await;
    delete(&server, "gone").await;
    for language in ["fr", "de"] {
        attach(&server, small_form("a", language, 2, &["x"])).await;
    }
    let detach = pb::DetachTranslationRequest {
        article_id: "a".into(),
        language: "de".into(),
        translation_id: "t1".into(),
        ..Default::default()
    };
    server.translations().detach_translation(detach).await.unwrap();

    let now = status(&server).await;
    assert_eq!(now.seq, server.seq().await);
    assert_eq!(now.totals, Some(counts(2, 1, 4, 1)));
    let languages: BTreeMap<_, _> = now
        .languages
        .iter()
        .map(|of| (of.language.as_str(), of.counts.unwrap()))
        .collect();
    assert_eq!(
        languages,
        BTreeMap::from([
            ("ar", counts(1, 1, 3, 0)),
            ("ar-MA", counts(1, 0, 1, 0)),
            ("fr", counts(0, 0, 0, 1)),
        ])
    );
    assert_eq!(now.server_version, env!("CARGO_PKG_VERSION"));
    assert_eq!((now.engine.as_str(), now.floor_bytes), ("sled", 0));
    assert!(now.live_bytes > empty.live_bytes && now.disk_bytes > now.live_bytes);
    assert!(now.available_bytes > 0 && !now.should_compact);
    assert!(
        now.epoch.len() == 32
            && now
                .epoch
                .bytes()
                .all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
    );
    assert_eq!((now.compaction, now.last_check), (None, None));

    let checked = check(&server).await.unwrap();
    assert_eq!(checked.0, []);
    assert_eq!((checked.1.seq, checked.1.findings), (now.seq, 0));
    assert!(checked.1.records > 20, "{checked:?}");
    assert_eq!(status(&server).await.last_check, Some(checked.1));

    let server = server.restart().await;
    let again = status(&server).await;
    assert_eq!((again.epoch, again.totals), (now.epoch, now.totals));
    assert_eq!(again.last_check, None, "it is kept in memory");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_memory_has_a_status_too() {
    let server = Server::memory().await;
    create(&server, article("a", &["نص"])).await;
    let status = status(&server).await;
    assert_eq!((status.engine.as_str(), status.disk_bytes), ("memory", 0));
    assert_eq!(status.totals, Some(counts(1, 0, 1, 0)));
    assert_eq!(check(&server).await.unwrap().0, []);
}

/// Checks, and answers the findings and the summary.
async fn check(server: &Server) -> Result<(Vec<pb::CheckFinding>, pb::CheckSummary), tonic::Status> {
    let request = pb::CheckStoreRequest {};
    let mut steps = server.admin().check_store(request).await?.into_inner();
    let (mut findings, mut summary) = (Vec::new(), None);
    while let Some(step) = steps.message().await? {
        assert_eq!(summary, None, "the summary is the last");
        match step.step.unwrap() {
            CheckStep::Progress(_) => {}
            CheckStep::Finding(finding) => findings.push(finding),
            CheckStep::Summary(done) => summary = Some(done),
        }
    }
    Ok((findings, summary.expect("the summary is the last")))
}

/// Breaks what lies in a store whose server is stopped.
fn break_store(directory: &Path, damage: impl Fn(&[u8], &[u8]) -> Option<Write>) {
    let config = SledConfig {
        min_free_bytes: Some(0),
        ..SledConfig::new(directory.join("data"))
    };
    let engine = SledEngine::open(config).unwrap();
    let mut writes = Vec::new();
    let mut visit = |key: &[u8], record: &[u8]| {
        writes.extend(damage(key, record));
        std::ops::ControlFlow::Continue(())
    };
    engine.scan(b"a"..=b"z", Direction::Forward, &mut visit).unwrap();
    assert!(!writes.is_empty());
    engine.apply(writes).unwrap();
    engine.close().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_is_broken() {
    let server = Server::sled().await;
    create(&server, article("a", &["نص"])).await;
    create(&server, article("b", &["نص"])).await;
    let directory = server.leave().await;
    break_store(directory.path(), |key, record| {
        (key == b"ha").then(|| {
            let mut flipped = record.to_vec();
            *flipped.last_mut().unwrap() ^= 1;
            Write::Put(key.to_vec(), flipped)
        })
    });
    let server = Setup::again(directory).start().await;
    let (findings, summary) = check(&server).await.unwrap();
    assert!(
        findings.contains(&pb::CheckFinding {
            record: "head a".into(),
            problem: "its checksum does not match".into(),
        }),
        "{findings:?}"
    );
    assert_eq!(summary.findings, findings.len() as u64);
    assert_eq!(status(&server).await.last_check, Some(summary));
    assert_eq!(get(&server, "b").await.revision, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_check_stops_and_lets_the_next_one_begin() {
    const LOST: u64 = 3_000;
    let server = Server::sled().await;
    let creations = (0..LOST).map(|number| create(&server, article(&format!("a{number}"), &["نص"])));
    futures::future::join_all(creations).await;
    let directory = server.leave().await;
    // More findings than the server sends ahead of a client that does not read.
    break_store(directory.path(), |key, _| {
        key.starts_with(b"i\x02").then(|| Write::Remove(key.to_vec()))
    });
    let server = Setup::again(directory).start().await;
    // Reads one finding and no more: the check cannot come to its end.
    let stuck = async || -> Option<Streaming<pb::CheckStoreResponse>> {
        let request = pb::CheckStoreRequest {};
        let mut steps = AdminServiceClient::new(server.narrow_channel(16 << 10))
            .check_store(request)
            .await
            .unwrap()
            .into_inner();
        loop {
            match steps.message().await.ok()?.unwrap().step.unwrap() {
                CheckStep::Progress(_) => {}
                CheckStep::Finding(_) => return Some(steps),
                CheckStep::Summary(summary) => panic!("{summary:?}"),
            }
        }
    };
    let first = stuck().await.unwrap();
    let second = failure(&check(&server).await.unwrap_err());
    assert_eq!(
        (second.code, second.reason.as_str(), second.retry),
        (Code::Unavailable, "STORE_UNAVAILABLE", true)
    );
    assert!(second.message.ends_with("another check is running"), "{second:?}");
    drop(first);
    let next = patiently(stuck).await;
    assert_eq!(
        status(&server).await.last_check,
        None,
        "a cancelled check is none"
    );
    drop(next);
    let (findings, _) = patiently(async || check(&server).await.ok()).await;
    assert_eq!(findings.len() as u64, LOST);
    assert_eq!(status(&server).await.last_check.unwrap().findings, LOST);
}

/// Tries until there is an answer.
async fn patiently<T>(attempt: impl AsyncFn() -> Option<T>) -> T {
    let tries = async {
        loop {
            if let Some(answer) = attempt().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, tries)
        .await
        .expect("it comes true in time")
}

/// Takes a whole backup: the file and what it says that it holds.
pub(super) async fn back_up(server: &Server) -> Result<(Vec<u8>, pb::BackupManifest), tonic::Status> {
    let request = pb::BackupStoreRequest {};
    let mut parts = server.admin().backup_store(request).await?.into_inner();
    let (mut file, mut manifest) = (Vec::new(), None);
    while let Some(part) = parts.message().await? {
        assert_eq!(manifest, None, "the manifest is the last");
        match part.part.unwrap() {
            Part::Chunk(chunk) => {
                assert!(!chunk.is_empty() && chunk.len() <= 1 << 20);
                file.extend(chunk);
            }
            Part::Manifest(last) => manifest = Some(last),
        }
    }
    Ok((file, manifest.expect("the manifest is the last")))
}

async fn restored(file: &[u8]) -> Server {
    let directory = TempDir::new().unwrap();
    let backup = directory.path().join("backup");
    std::fs::write(&backup, file).unwrap();
    let data = directory.path().join("data");
    let clock = Arc::new(SystemClock);
    store_factory::restore(&backup, &data, OPTIONS, false, clock, Box::new(|_, _, _| {}))
        .await
        .unwrap();
    Setup::again(directory).start().await
}

/// What an export holds, by article; `resume_token` is of the store and left out.
async fn articles_of(server: &Server) -> BTreeMap<String, Vec<pb::export_articles_response::Item>> {
    use pb::export_articles_response::Item;
    let mut all: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    for item in server.export().await {
        let item = item.item.unwrap();
        let id = match &item {
            Item::Article(article) => article.article_id.clone(),
            Item::Translation(translation) => translation.article_id.clone(),
        };
        all.entry(id).or_default().push(item);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_writes_is_the_store_after_one_commit() {
    let server = Server::sled().await;
    for number in 0..30_u64 {
        let id = format!("a{number}");
        create(&server, article(&id, &["نص", &noise(number, 100_000)])).await;
        attach(&server, small_form(&id, "fr", 1, &["x", "y"])).await;
        if number % 2 == 0 {
            rewrite(&server, &id, &["آخر"]).await;
        }
    }
    delete(&server, "a3").await;
    let done = AtomicBool::new(false);
    let writing = async {
        let mut written = Vec::new();
        while !done.load(Ordering::Acquire) {
            let id = format!("w{}", written.len());
            create(&server, article(&id, &["نص"])).await;
            written.push(id);
        }
        written
    };
    let backup = async {
        let backup = back_up(&server).await.unwrap();
        done.store(true, Ordering::Release);
        backup
    };
    let ((file, manifest), written) = futures::join!(backup, writing);
    assert_eq!(manifest.size_bytes, file.len() as u64);
    assert!(file.len() > 1 << 20, "it takes more than a chunk");
    assert!(manifest.commit_time.is_some() && manifest.line_counts["articles"] >= 30);

    let copy = restored(&file).await;
    let (now, then) = (articles_of(&server).await, articles_of(&copy).await);
    let expected: Vec<_> = (0..30).map(|number| format!("a{number}")).collect();
    assert!(expected.iter().all(|id| then.contains_key(id)));
    for (id, items) in &then {
        assert_eq!(Some(items), now.get(id), "{id}");
    }
    // The writer waits for each answer, so what is there of it is what was written first.
    let there = written.iter().filter(|id| then.contains_key(*id)).count();
    assert!(written[..there].iter().all(|id| then.contains_key(id)));
    let (status, copied) = (status(&server).await, status(&copy).await);
    assert_eq!(copied.seq, manifest.seq);
    assert_ne!(copied.epoch, status.epoch);
    copy.check().await;
    // Revisions of the past are there too.
    let first = pb::GetArticleRequest {
        article_id: "a0".into(),
        at: Some(pb::get_article_request::At::Revision(1)),
        ..Default::default()
    };
    let read = async |server: &Server| {
        let answer = server.articles().get_article(first.clone()).await;
        answer.unwrap().into_inner()
    };
    assert_eq!(read(&copy).await, read(&server).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_its_backup() {
    let server = Server::sled().await;
    // More than all buffers between the store and the reader hold.
    for number in 0..24 {
        create(
            &server,
            article(&format!("a{number}"), &[&noise(number, 1_400_000)]),
        )
        .await;
    }
    let request = pb::BackupStoreRequest {};
    let mut parts = AdminServiceClient::new(server.narrow_channel(16 << 10))
        .backup_store(request)
        .await
        .unwrap()
        .into_inner();
    assert!(parts.message().await.unwrap().is_some());
    let second = failure(&back_up(&server).await.map(drop).unwrap_err());
    assert_eq!((second.code, second.retry), (Code::Unavailable, true));
    assert!(
        second
            .message
            .ends_with("another backup of this store is being made"),
        "{second:?}"
    );
    // Writes do not wait for the reader.
    create(&server, article("meanwhile", &["نص"])).await;
    drop(parts);
    let (file, _) = patiently(async || back_up(&server).await.ok()).await;
    let copy = restored(&file).await;
    assert_eq!(articles_of(&copy).await, articles_of(&server).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_under_writes_loses_nothing() {
    let server = Server::sled().await;
    for round in 0..4_u64 {
        for number in 0..8 {
            let text = noise(round * 8 + number, 30_000);
            let id = format!("a{number}");
            match round {
                0 => drop(create(&server, article(&id, &[&text])).await),
                _ => drop(rewrite(&server, &id, &[&text]).await),
            }
        }
    }
    let done = AtomicBool::new(false);
    let writing = async {
        let mut written = 0;
        while !done.load(Ordering::Acquire) {
            create(&server, article(&format!("w{written}"), &["نص"])).await;
            written += 1;
        }
        written
    };
    let compacting = async {
        let request = pb::CompactStoreRequest {};
        let mut steps = server.admin().compact_store(request).await.unwrap().into_inner();
        let mut last = None;
        while let Some(step) = steps.message().await.unwrap() {
            assert!(
                !matches!(last, Some(CompactStep::Summary(_))),
                "the summary is the last"
            );
            last = step.step;
        }
        done.store(true, Ordering::Release);
        last
    };
    let before = articles_of(&server).await;
    let (last, written) = futures::join!(compacting, writing);
    let Some(CompactStep::Summary(summary)) = last else {
        panic!("{last:?} is the last")
    };
    assert!(summary.disk_bytes_after > 0 && summary.disk_bytes_after <= summary.disk_bytes_before);
    assert!(written > 0);
    let server = server.restart().await;
    let after = articles_of(&server).await;
    assert_eq!(after.len(), 8 + written);
    assert!(before.iter().all(|(id, items)| after.get(id) == Some(items)));
    server.check().await;
    assert_eq!(status(&server).await.compaction, None);
}

//! Embargoes of articles that are damaged on the disk.

use std::collections::HashSet;
use std::sync::Arc;

use article_store::clock::SystemClock;
use article_store::domain::access::Visibility;
use article_store::service::Service;
use article_store::store::Store;
use article_store::store::kv::engine::{Engine, Write};

use super::bench::at;
use super::disk::Disk;
use super::embargoes::embargoed;
use super::fixtures::*;

/// The page of due embargoes is 1,000; the damaged ones before it must not keep the one behind it waiting.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_articles_hold_up_no_embargo_that_ended_later() {
    const DAMAGED: usize = 1_001;
    let disk = Disk::default();
    let store = disk.store();
    let names: Vec<_> = (0..DAMAGED)
        .map(|number| format!("damaged-{number:04}"))
        .collect();
    let commits = names
        .iter()
        .map(|name| store.commit(embargoed(name, at("2022-05-11T00:00:00Z"))));
    for committed in futures::future::join_all(commits).await {
        committed.unwrap();
    }
    store
        .commit(embargoed("later", at("2022-05-11T00:00:01Z")))
        .await
        .unwrap();
    let heads = names.iter().map(|name| [b"h", name.as_bytes()].concat());
    disk.apply(heads.map(|key| Write::Put(key, b"rot".to_vec())).collect())
        .unwrap();
    // Without what the first one has in its caches.
    let service = Service::new(disk.store(), Arc::new(SystemClock));
    let mut failed = HashSet::new();
    while service.lift_embargoes(&mut failed).await.unwrap() {}
    assert_eq!(failed.len(), DAMAGED);
    let later = service.store().articles(&[id("later")]).await.unwrap();
    let later = later[0].as_ref().unwrap();
    assert_eq!(later.head.current.visibility, Visibility::Public);
}

//! Claims of jobs whose texts cannot be read.

use article_store::pb;
use article_store::store::kv::engine::{Direction, Engine, Write};
use article_store::store::kv::sled::{SledConfig, SledEngine};
use pb::JobState;

use super::{article, claim, claim_all, claimed_ids, create, open, request};
use crate::harness::{Server, Setup};

/// Damages the revision that the first commit of a store wrote. Its server is stopped.
fn damage_first_revision(directory: &std::path::Path) {
    let config = SledConfig {
        min_free_bytes: Some(0),
        ..SledConfig::new(directory.join("data"))
    };
    let engine = SledEngine::open(config).unwrap();
    let mut damaged = Vec::new();
    let mut visit = |key: &[u8], record: &[u8]| {
        let mut rotten = record.to_vec();
        *rotten.last_mut().unwrap() ^= 1;
        damaged.push(Write::Put(key.to_vec(), rotten));
        std::ops::ControlFlow::Continue(())
    };
    let revision = [
        b"v".as_slice(),
        &1u64.to_be_bytes(),
        b"a\0\x01",
        &1u32.to_be_bytes(),
    ]
    .concat();
    engine
        .scan(revision.as_slice()..=&revision, Direction::Forward, &mut visit)
        .unwrap();
    assert_eq!(damaged.len(), 1);
    engine.apply(damaged).unwrap();
    engine.close().unwrap();
}

async fn job(server: &Server, id: &str) -> pb::TranslationJob {
    let request = pb::GetJobRequest { job_id: id.into() };
    server
        .jobs()
        .get_job(request)
        .await
        .unwrap()
        .into_inner()
        .job
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_text_does_not_hold_up_the_other_jobs() {
    let server = Server::sled().await;
    for id in ["a", "b", "c"] {
        create(&server, article(id, &["نص"])).await;
    }
    open(&server, request(&["a", "b", "c"])).await;
    let directory = server.leave().await;
    damage_first_revision(directory.path());
    let server = Setup::again(directory).start().await;
    let claimed = claim(&server, claim_all()).await;
    assert_eq!(claimed_ids(&claimed), ["b/fr/mt/1", "c/fr/mt/1"]);
    // The attempt has failed, so that the job does not come first again at once.
    let unreadable = job(&server, "a/fr/mt/1").await;
    assert_eq!(unreadable.state(), JobState::Pending);
    assert_eq!(unreadable.attempts, 1);
    assert!(unreadable.not_before.is_some(), "{unreadable:?}");
    assert_eq!(claim(&server, claim_all()).await, []);
}

//! Many clients at once on the translations of one article: nothing that was acknowledged is lost, never are two served,
//! and the loser of a race under an etag gets the current one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use article_store::pb;
use futures::future::join_all;
use pb::{Disposition, ProvenanceStep, TranslationState};
use tokio::sync::Barrier;
use tonic::Code;
use tonic::transport::Channel;

use super::workflow::{by_person, provenance, review, select};
use super::{article, attach, by_id, create, small_form, translation};
use crate::harness::{Random, Server, failure};

const CLIENTS: usize = 64;
const ROUNDS: usize = 16;

type Client = pb::translation_service_client::TranslationServiceClient<Channel>;

/// What a client did, and what became of it.
#[derive(Debug)]
struct Deed {
    request_id: String,
    /// The etag that it gave; empty if it gave none.
    etag: String,
    /// Whether it must have changed something if it was done.
    certain: bool,
    /// Whether it counted.
    counted: bool,
    /// The etag of the loser's answer; `None` if it was done.
    lost_to: Option<String>,
}

async fn summary(client: &mut Client, id: &str) -> pb::Translation {
    let request = pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: id.into(),
        at: None,
        show_hidden: false,
        evidence_only: false,
    };
    let answer = client.get_translation(request).await.unwrap().into_inner();
    answer.translation.unwrap()
}

/// One random step, decided on what is read first.
async fn act(client: &mut Client, number: usize, round: usize, random: &mut Random) -> Deed {
    let read = summary(client, "t1").await;
    let known = read.summary.unwrap();
    let any = format!("t{}", random.below(3) + 1);
    let mut deed = Deed {
        request_id: uuid::Uuid::new_v4().to_string(),
        etag: String::new(),
        certain: false,
        counted: false,
        lost_to: None,
    };
    let request_id = deed.request_id.clone();
    let status = match random.below(6) {
        0 => {
            let count: u32 = read.body[0].text.parse().unwrap();
            let next = by_id("a", "en", 1, &[("s1", &(count + 1).to_string())]);
            deed.etag = known.etag.clone();
            (deed.certain, deed.counted) = (true, true);
            let request = pb::AttachTranslationRequest {
                translation_id: "t1".into(),
                etag: known.etag,
                request_id,
                ..by_person(&format!("writer {number}"), next)
            };
            client.attach_translation(request).await.err()
        }
        1 => {
            let (state, reason) = match read.body[1].state() {
                TranslationState::Translated => (TranslationState::Reviewed, ""),
                _ => (TranslationState::Translated, "on second thoughts"),
            };
            deed.etag = known.etag.clone();
            let request = pb::ReviewTranslationRequest {
                segment_ids: vec!["s2".into()],
                state: state.into(),
                reason: reason.into(),
                request_id,
                ..review(&format!("reviewer {number}"), &known.etag)
            };
            client.review_translation(request).await.err()
        }
        2 => {
            deed.etag = known.slot_etag.clone();
            let request = pb::SelectTranslationRequest {
                request_id,
                ..select(&any, &known.slot_etag)
            };
            client.select_translation(request).await.err()
        }
        3 => {
            let request = pb::SelectTranslationRequest {
                request_id,
                ..select(&any, "")
            };
            client.select_translation(request).await.err()
        }
        4 => {
            deed.certain = true;
            let text = format!("{number} in {round}");
            let request = pb::AttachTranslationRequest {
                translation_id: "t2".into(),
                request_id,
                ..by_person(&format!("writer {number}"), by_id("a", "en", 1, &[("s3", &text)]))
            };
            client.attach_translation(request).await.err()
        }
        _ => {
            deed.certain = true;
            let text = format!("{number} in {round}");
            // All that is there is a person's, so that it goes to the machine's candidate.
            let request = pb::AttachTranslationRequest {
                request_id,
                ..by_id("a", "en", 1, &[("s2", &text)])
            };
            client.attach_translation(request).await.err()
        }
    };
    if let Some(status) = status {
        let failure = failure(&status);
        assert_eq!(
            (failure.code, failure.reason.as_str()),
            (Code::Aborted, "ETAG_MISMATCH"),
            "{deed:?} {failure:?}"
        );
        let current = failure.metadata["current_etag"].clone();
        assert!(!deed.etag.is_empty() && failure.metadata["etag"] == deed.etag);
        assert_ne!(current, deed.etag);
        deed.lost_to = Some(current);
    }
    deed
}

/// Looks again and again, until everyone is done, that no more than one is served.
async fn watch(mut client: Client, done: Arc<AtomicBool>) -> usize {
    let mut looks = 0;
    while !done.load(Ordering::Relaxed) {
        let request = pb::ListTranslationsRequest {
            article_id: "a".into(),
            language: "en".into(),
            ..Default::default()
        };
        let listed = client.list_translations(request).await.unwrap().into_inner();
        let dispositions = listed.translations.iter().map(|t| t.disposition());
        let active = dispositions.filter(|d| *d == Disposition::Active).count();
        assert_eq!(active, 1, "{listed:?}");
        looks += 1;
    }
    looks
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_lose_no_update_and_serve_one_translation() {
    let server = Server::sled().await;
    create(&server, article("a", &["الأولى", "الثانية", "الثالثة"])).await;
    for _ in 0..3 {
        let mut request = by_person("Nora", small_form("a", "en", 1, &["0", "two", "three"]));
        request.new_candidate = true;
        attach(&server, request).await;
    }
    let first = translation(&server, "a", "en", "t1").await.summary.unwrap();
    let start = Arc::new(Barrier::new(CLIENTS));
    let clients = (0..CLIENTS).map(|number| {
        let (mut client, start) = (server.translations(), start.clone());
        tokio::spawn(async move {
            let mut random = Random::new(number as u64);
            start.wait().await;
            let mut deeds = Vec::new();
            for round in 0..ROUNDS {
                deeds.push(act(&mut client, number, round, &mut random).await);
            }
            deeds
        })
    });
    let clients: Vec<_> = clients.collect();
    let done = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn(watch(server.translations(), done.clone()));
    let deeds: Vec<Deed> = join_all(clients)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    done.store(true, Ordering::Relaxed);
    assert!(watcher.await.unwrap() > 0);

    let records = provenance(&server, "", 500).await;
    let recorded: BTreeSet<_> = records.iter().map(|record| record.request_id.as_str()).collect();
    for deed in &deeds {
        match &deed.lost_to {
            None if deed.certain => assert!(recorded.contains(deed.request_id.as_str()), "{deed:?}"),
            None => {}
            Some(_) => assert!(!recorded.contains(deed.request_id.as_str()), "{deed:?}"),
        }
    }
    // Who won under an etag came right after what had it.
    for won in deeds
        .iter()
        .filter(|deed| deed.lost_to.is_none() && !deed.etag.is_empty())
    {
        let Some(at) = records.iter().position(|r| r.request_id == won.request_id) else {
            continue;
        };
        let (record, earlier) = (&records[at], &records[..at]);
        let before = match record.step() {
            ProvenanceStep::Selected => {
                let chosen = earlier
                    .iter()
                    .rev()
                    .find(|r| r.step() == ProvenanceStep::Selected);
                chosen.map_or(&first.slot_etag, |chosen| &chosen.etag)
            }
            _ => {
                let same = |r: &&pb::ProvenanceRecord| r.translation_id == "t1" && r.version > 0;
                &earlier.iter().rev().find(same).unwrap().etag
            }
        };
        assert_eq!(*before, won.etag, "{record:?}");
    }
    // Who lost was told an etag that was once the current one.
    let was_current = |etag: &String| *etag == first.slot_etag || records.iter().any(|r| r.etag == *etag);
    let lost: Vec<_> = deeds.iter().filter_map(|deed| deed.lost_to.as_ref()).collect();
    assert!(lost.iter().all(|etag| was_current(etag)));
    assert!(lost.len() > CLIENTS, "there was a race: {}", lost.len());
    // Nothing was written over unseen.
    let counted = deeds
        .iter()
        .filter(|deed| deed.counted && deed.lost_to.is_none())
        .count();
    let read = translation(&server, "a", "en", "t1").await;
    assert_eq!(read.body[0].text, counted.to_string());
    for id in ["t1", "t2", "t3", "t4"] {
        let of = records.iter().filter(|r| r.translation_id == id && r.version > 0);
        let versions: Vec<_> = of.map(|record| record.version).collect();
        assert_eq!(versions, (1..=versions.len() as u32).collect::<Vec<_>>());
    }
    // Each selection replaced the one before it.
    let mut served = "t1".to_owned();
    for record in records.iter().filter(|r| r.step() == ProvenanceStep::Selected) {
        assert_eq!(record.replaced_translation_id, served);
        served.clone_from(&record.translation_id);
    }
    assert_eq!(translation(&server, "a", "en", "").await.translation_id, served);
    let before = server.export().await;
    let server = server.restart().await;
    assert_eq!(server.export().await, before);
    assert_eq!(provenance(&server, "", 0).await, records);
    server.check().await;
}

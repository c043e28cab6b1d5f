//! A backup shows the store at the moment when it begins, whatever is written meanwhile and however slowly it is read. Only
//! purges take effect in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use article_store::clock::TrustedClock;
use article_store::domain::article::ArticleId;
use article_store::store::Store;
use article_store::store::reference::ReferenceImport;
use article_store::store::transfer::{self, BackupFile, BackupWriter};
use futures::future::join_all;
use tokio::sync::mpsc;

use super::backup::{fill, is_the_same, open_next, restored, revise_once, states};
use super::bench::{Bench, article, at};
use super::fixtures::*;
use super::purge::purge;

on_every_store! {
    a_backup_read_slowly_beside_writes_is_the_store_when_it_began,
}

on_every_engine! {
    a_purge_takes_effect_in_the_backup_that_is_being_made,
}

/// Articles besides those of [`fill`]: more than a dump reads ahead.
const MORE: usize = 1_200;

fn more(number: usize) -> ArticleId {
    id(&format!("n{number:04}"))
}

async fn fill_more(bench: &Bench) {
    fill(bench).await;
    let new = (0..MORE).map(|number| bench.store.commit(simple(&more(number))));
    join_all(new).await.into_iter().for_each(|new| drop(new.unwrap()));
}

/// Writes a backup into a file, with something done before each chunk of it is taken.
async fn back_up_slowly(bench: &Bench, file: &Path, mut meanwhile: impl AsyncFnMut(usize)) {
    let (to, mut chunks) = mpsc::channel(1);
    let store = bench.store.clone();
    let export = tokio::spawn(async move { store.export(to).await });
    let mut writer = BackupWriter::new(bench.store.epoch(), at("2022-05-11T00:00:00Z")).unwrap();
    let mut number = 0;
    while let Some(chunk) = chunks.recv().await {
        meanwhile(number).await;
        number += 1;
        chunk
            .into_iter()
            .for_each(|entity| writer.entity(entity).unwrap());
    }
    assert!(number > 8, "the backup was read at once");
    let mut bytes = writer.take();
    bytes.extend(writer.end(export.await.unwrap().unwrap()).unwrap().0);
    fs::write(file, bytes).unwrap();
}

/// A reference store that holds the same.
async fn reference_of(bench: &Bench) -> impl Store + use<> {
    let (import, published) = ReferenceImport::new(Arc::new(TrustedClock));
    let progress = Box::new(|_: &'static str, _: u64, _: u64| {});
    transfer::copy(&*bench.store, "it".to_owned(), Box::new(import), progress)
        .await
        .unwrap();
    Arc::into_inner(published).unwrap().into_inner().unwrap()
}

async fn a_backup_read_slowly_beside_writes_is_the_store_when_it_began(bench: &mut Bench) {
    fill_more(bench).await;
    let bench = &*bench;
    let reference = reference_of(bench).await;
    let target = tempfile::tempdir().unwrap();
    let file = bench.directory.path().join("backup");
    back_up_slowly(bench, &file, async |chunk| {
        // Everything that is written at all, of other articles before each chunk.
        let edited = (chunk..MORE).step_by(60).map(|number| async move {
            let state = bench.article(&more(number)).await.unwrap();
            bench.store.commit(delete_or_back(&state, chunk)).await.unwrap();
        });
        join_all(edited).await;
        for number in (0..40).skip(chunk % 8).step_by(8) {
            revise_once(bench, number, &format!("{chunk}")).await;
            open_next(bench, &id(&format!("a{number}")), "de").await;
            let state = bench.article(&id(&format!("a{number}"))).await.unwrap();
            let texts = texts(&format!("{chunk}"), 1);
            let slot = attach(&*bench.store, &state, &language("fr"), &texts).await;
            bench.store.commit(slot.unwrap()).await.unwrap();
        }
        let new = simple(&id(&format!("new{chunk}")));
        bench
            .store
            .commit(with_request(new, 1_000 + chunk as u64))
            .await
            .unwrap();
        put_policy(&*bench.store, &policy("news", &["de"])).await;
    })
    .await;
    let other = restored(&file, target.path()).await;
    is_the_same(&reference, &other).await;
    other.close().await.unwrap();
}

/// Deletes an article, or changes it, by turns.
fn delete_or_back(state: &article_store::store::ArticleState, turn: usize) -> article_store::store::Batch {
    match turn {
        0 => delete(state),
        turn => edit(state, |metadata| metadata.keywords = vec![format!("{turn}")]),
    }
}

async fn a_purge_takes_effect_in_the_backup_that_is_being_made(bench: &mut Bench) {
    fill_more(bench).await;
    let reference = reference_of(bench).await;
    let target = tempfile::tempdir().unwrap();
    let file = bench.directory.path().join("backup");
    // Those of which all, something and nothing is in the chunks that were taken.
    let purged = [id("a0"), id("a7"), more(0), more(MORE / 2), more(MORE - 1)];
    back_up_slowly(bench, &file, async |chunk| {
        if chunk == 1 {
            for article in &purged {
                let version = bench.article(article).await.unwrap().head.version();
                bench.store.commit(purge(article, version)).await.unwrap();
            }
        }
        // One that was overwritten before, so that its records are read as they were.
        match chunk {
            0..3 => revise_once(bench, 9, &format!("{chunk}")).await,
            3 => {
                let version = bench.article(&id("a9")).await.unwrap().head.version();
                bench.store.commit(purge(&id("a9"), version)).await.unwrap();
            }
            _ => {}
        }
    })
    .await;
    let moment = BackupFile::verify(&file).unwrap().manifest.seq;
    for id in purged.iter().chain([&id("a9")]) {
        let version = article(&reference, id).await.unwrap().head.version();
        reference.commit(purge(id, version)).await.unwrap();
    }
    let other = restored(&file, target.path()).await;
    assert_eq!(other.check().await.unwrap(), []);
    assert_eq!(other.status().await.unwrap().seq, moment);
    assert_eq!(states(&other).await, states(&reference).await);
    for id in &purged {
        let tombstone = other.tombstone(id).await.unwrap().unwrap();
        assert!(tombstone.stamp.seq <= moment, "{tombstone:?}");
    }
    assert_eq!(
        other.status().await.unwrap().counts,
        reference.status().await.unwrap().counts
    );
    other.close().await.unwrap();
}

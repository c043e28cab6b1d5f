//! Departures: the rows that find in which revision a text left a segment, which revision had a content, and which were
//! of a significance. They are derived from revision deltas and answer a lookup in steps that do not grow with the number
//! of revisions.
//!
//! A row is tiny, because an article has as many as texts that left it: its value is the place of the departure and a
//! checksum over key and place, without the frame of records.

use std::ops::ControlFlow;

use super::codec::{self, Malformed};
use super::engine::{Direction, Engine, Write};
use super::shared::{Shared, corrupt};
use super::{envelope, keys};
use crate::domain::article::{ArticleId, Significance};
use crate::domain::departures::{Departed, Departures, Lookup, RevisionDelta};
use crate::store::error::{Result, StoreError};

/// The rows of a delta.
pub(super) fn rows(article: &ArticleId, delta: &RevisionDelta) -> Vec<Write> {
    let row = |key: Vec<u8>, place: u32| {
        let value = value(&key, place);
        Write::Put(key, value)
    };
    let texts = (0..).zip(&delta.departed).map(|(place, (id, hash))| {
        let key = keys::departed(article, *hash, codec::segment_code(id), delta.revision);
        row(key, place)
    });
    let content = row(keys::replaced_content(article, delta.content, delta.revision), 0);
    let significance = delta.significance.map(|level| {
        let key = keys::revision_of_level(article, codec::level_code(level), delta.revision);
        row(key, 0)
    });
    texts.chain([content]).chain(significance).collect()
}

fn value(key: &[u8], place: u32) -> Vec<u8> {
    let place = place.to_be_bytes();
    let sum = crc32c::crc32c_append(crc32c::crc32c(key), &place);
    [place, sum.to_be_bytes()].concat()
}

/// The place in a row.
fn place(key: &[u8], row: &[u8]) -> Result<u32> {
    let place = row.first_chunk().map(|place| u32::from_be_bytes(*place));
    place
        .filter(|place| value(key, *place) == row)
        .ok_or_else(|| corrupt(key)(Malformed("its checksum does not match".into())))
}

/// Answers a lookup.
pub(super) fn departures(core: &Shared, article: &ArticleId, lookup: &Lookup) -> Result<Departures> {
    let mut departures = Departures::default();
    let engine = &*core.engine;
    for hash in &lookup.texts {
        let of_text = keys::departures(article, *hash);
        // The newest departure from each segment, one segment after the other.
        let mut segment = [0; 4];
        while let Some((key, row)) = next(
            engine,
            &keys::newest(&of_text, &segment, lookup.revision),
            &of_text,
        )? {
            let (found, revision) = keys::departed_of(&of_text, &key).ok_or_else(|| unreadable(&key))?;
            if revision > lookup.revision {
                segment = found;
                continue;
            }
            let departed = Departed {
                last_revision: revision.saturating_sub(1),
                place: place(&key, &row)?,
            };
            departures
                .texts
                .insert((*hash, codec::segment_of(found)), departed);
            match u32::from_be_bytes(found).checked_add(1) {
                Some(after) => segment = after.to_be_bytes(),
                None => break,
            }
        }
    }
    for content in &lookup.contents {
        let of_content = keys::contents(article, *content);
        if let Some(revision) = newest(engine, &of_content, lookup.revision)? {
            departures.contents.insert(*content, revision.saturating_sub(1));
        }
    }
    for level in Significance::ALL {
        let of_level = keys::levels(article, codec::level_code(level));
        if let Some(revision) = newest(engine, &of_level, lookup.revision)? {
            departures.significance.insert(level, revision);
        }
    }
    Ok(departures)
}

fn unreadable(key: &[u8]) -> StoreError {
    corrupt(key)(Malformed("its key cannot be read".into()))
}

/// The newest revision up to one under a prefix.
fn newest(engine: &dyn Engine, prefix: &[u8], revision: u32) -> Result<Option<u32>> {
    let Some((key, row)) = next(engine, &keys::newest(prefix, &[], revision), prefix)? else {
        return Ok(None);
    };
    place(&key, &row)?;
    let revision = keys::revision_in(prefix, &key).ok_or_else(|| unreadable(&key))?;
    Ok(Some(revision))
}

/// The first row of a prefix from a key on.
fn next(engine: &dyn Engine, from: &[u8], prefix: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut found = None;
    engine.scan(
        from..=&keys::above(prefix),
        Direction::Forward,
        &mut |key, row| {
            found = Some((key.to_vec(), row.to_vec()));
            ControlFlow::Break(())
        },
    )?;
    Ok(found)
}

/// The delta in a record.
pub(super) fn read(key: &[u8], record: &[u8]) -> Result<(ArticleId, RevisionDelta)> {
    let (_, payload) = envelope::open(record, || keys::readable(key))?;
    codec::decode_delta(&payload).map_err(corrupt(key))
}

//! The engine's promises, tested on every engine. What only one engine can do is tested beside it.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicBool, Ordering};

use super::engine::{Direction, Engine, Write};
use super::memory::MemoryEngine;
use super::sled::{SledConfig, SledEngine};
use crate::store::error::StoreError;

macro_rules! on_every_engine {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $test() { super::$test(&super::MemoryEngine::new()); })*
        }
        mod sled {
            $(#[test] fn $test() {
                let directory = tempfile::tempdir().unwrap();
                super::$test(&super::open_sled(directory.path()));
            })*
        }
    };
}

on_every_engine! {
    a_batch_is_seen_as_a_whole,
    the_last_write_of_a_key_counts,
    scans_keep_order_and_inclusive_bounds,
    a_scan_stops_when_told_and_may_call_the_engine,
    values_of_every_length_come_back,
    reopening_keeps_everything,
    live_bytes_are_those_of_all_entries,
    a_closed_engine_refuses_everything,
}

/// A sled engine that needs no free space.
pub(crate) fn open_sled(directory: &std::path::Path) -> SledEngine {
    let config = SledConfig {
        cache_bytes: 1 << 20,
        min_free_bytes: Some(0),
        reserve_bytes: 4096,
        ..SledConfig::new(directory)
    };
    SledEngine::open(config).unwrap()
}

pub(crate) fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Write {
    Write::Put(key.as_ref().to_vec(), value.as_ref().to_vec())
}

pub(crate) fn remove(key: impl AsRef<[u8]>) -> Write {
    Write::Remove(key.as_ref().to_vec())
}

pub(crate) fn scan(
    engine: &dyn Engine,
    range: RangeInclusive<&[u8]>,
    direction: Direction,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    engine.scan(range, direction, &mut visit).unwrap();
    found
}

/// Bytes without a repetition that a mixed-up chunk could hide behind.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn live_bytes_are_those_of_all_entries(engine: &dyn Engine) {
    let steps = [
        vec![put("a", bytes(200_000)), put("b", "1")],
        vec![put("a", "short now"), put("c", bytes(70_000))],
        vec![remove("b"), remove("missing"), put("d", ""), put("d", "twice")],
        vec![put("c", bytes(300_000))],
        vec![remove("c")],
    ];
    for step in steps {
        engine.apply(step).unwrap();
        let entries = scan(engine, b"a"..=b"z", Direction::Forward);
        let bytes: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert_eq!(engine.sizes().unwrap().live_bytes, bytes as u64);
        engine.flush().unwrap();
        engine.sync().unwrap();
        engine.reopen().unwrap();
        assert_eq!(engine.sizes().unwrap().live_bytes, bytes as u64);
    }
}

fn keys(engine: &dyn Engine, range: RangeInclusive<&[u8]>, direction: Direction) -> Vec<String> {
    scan(engine, range, direction)
        .into_iter()
        .map(|(key, _)| String::from_utf8(key).unwrap())
        .collect()
}

fn a_batch_is_seen_as_a_whole(engine: &dyn Engine) {
    let done = AtomicBool::new(false);
    let read = |key| u32::from_be_bytes(engine.get(key).unwrap().map_or([0; 4], |v| v.try_into().unwrap()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=500_u32 {
                engine
                    .apply(vec![put("z", n.to_be_bytes()), put("a", n.to_be_bytes())])
                    .unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let (first, second) = (read(b"z"), read(b"a"));
            assert!(
                first <= second,
                "saw {first} in one entry and later {second} in the other"
            );
            let (first, second) = (read(b"a"), read(b"z"));
            assert!(
                first <= second,
                "saw {first} in one entry and later {second} in the other"
            );
        }
    });
    assert_eq!((read(b"a"), read(b"z")), (500, 500));
}

fn the_last_write_of_a_key_counts(engine: &dyn Engine) {
    let long = bytes(100_000);
    engine
        .apply(vec![put("a", &long), put("a", "1"), remove("b"), put("b", "2")])
        .unwrap();
    engine
        .apply(vec![put("c", &long), remove("c"), remove("d")])
        .unwrap();
    let expected = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())];
    assert_eq!(scan(engine, b"a"..=b"z", Direction::Forward), expected);
}

fn scans_keep_order_and_inclusive_bounds(engine: &dyn Engine) {
    assert_eq!(scan(engine, b""..=b"\xff", Direction::Backward), []);
    // Enough for many pages of a scan, and written out of order.
    let names: Vec<String> = (0..3000).map(|n| format!("k{n:04}")).collect();
    for part in 0..7 {
        engine
            .apply(
                names
                    .iter()
                    .skip(part)
                    .step_by(7)
                    .map(|name| put(name, name))
                    .collect(),
            )
            .unwrap();
    }
    let reversed: Vec<String> = names.iter().rev().cloned().collect();
    assert_eq!(keys(engine, b""..=b"\xff\xff", Direction::Forward), names);
    assert_eq!(keys(engine, b""..=b"\xff\xff", Direction::Backward), reversed);
    assert_eq!(
        keys(engine, b"k0010"..=b"k0012", Direction::Forward),
        ["k0010", "k0011", "k0012"]
    );
    assert_eq!(
        keys(engine, b"k0010"..=b"k0012", Direction::Backward),
        ["k0012", "k0011", "k0010"]
    );
    assert_eq!(keys(engine, b"k0010"..=b"k0010", Direction::Backward), ["k0010"]);
    assert_eq!(keys(engine, b"k0010+"..=b"k0011+", Direction::Forward), ["k0011"]);
    assert_eq!(keys(engine, b"k0012"..=b"k0010", Direction::Forward), [""; 0]);
    assert_eq!(keys(engine, b"k0012"..=b"k0010", Direction::Backward), [""; 0]);
}

fn a_scan_stops_when_told_and_may_call_the_engine(engine: &dyn Engine) {
    engine
        .apply((0..100_u8).map(|n| put([n], [n])).collect())
        .unwrap();
    let mut seen = 0;
    let mut visit = |key: &[u8], _: &[u8]| {
        seen += 1;
        engine.apply(vec![remove(key)]).unwrap();
        engine.reopen().unwrap();
        if seen == 40 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    engine
        .scan(b"\x00"..=b"\xfe", Direction::Forward, &mut visit)
        .unwrap();
    assert_eq!(seen, 40);
    assert_eq!(scan(engine, b"\x00"..=b"\xfe", Direction::Forward).len(), 60);
}

fn values_of_every_length_come_back(engine: &dyn Engine) {
    let kib_64 = 64 * 1024;
    let lengths = [
        0,
        1,
        kib_64 - 1,
        kib_64,
        kib_64 + 1,
        5 << 20,
        kib_64 + 1,
        1,
        2 * kib_64,
        0,
    ];
    for length in lengths {
        let value = bytes(length);
        engine.apply(vec![put("long", &value), put("next", "x")]).unwrap();
        assert!(
            engine.get(b"long").unwrap() == Some(value.clone()),
            "{length} bytes came back changed"
        );
        let found = scan(engine, b"a"..=b"\xff\xff", Direction::Backward);
        assert_eq!(found.len(), 2, "a scan after writing {length} bytes");
        assert!(found[1].1 == value, "{length} bytes were scanned changed");
    }
    engine.apply(vec![remove("long")]).unwrap();
    assert_eq!(engine.get(b"long").unwrap(), None);
}

fn reopening_keeps_everything(engine: &dyn Engine) {
    let long = bytes(200_000);
    for n in 0..5_u8 {
        engine.apply(vec![put([n], &long), put([n, n], [n])]).unwrap();
        engine.flush().unwrap();
        engine.sync().unwrap();
        engine.reopen().unwrap();
        assert!(!engine.wants_reopen());
    }
    let found = scan(engine, b""..=b"\xfe", Direction::Forward);
    assert_eq!(found.len(), 10);
    assert!(found.iter().step_by(2).all(|(_, value)| *value == long));
}

fn a_closed_engine_refuses_everything(engine: &dyn Engine) {
    engine.apply(vec![put("a", "1")]).unwrap();
    engine.close().unwrap();
    engine.close().unwrap();
    let closed = Err(StoreError::Closed);
    assert_eq!(engine.get(b"a").map(drop), closed);
    assert_eq!(
        engine.scan(
            b"a"..=b"b",
            Direction::Forward,
            &mut |_, _| ControlFlow::Continue(())
        ),
        closed
    );
    assert_eq!(engine.admit(), closed);
    assert_eq!(engine.apply(vec![put("a", "1")]), closed);
    assert_eq!(engine.flush(), closed);
    assert_eq!(engine.sync(), closed);
    assert_eq!(engine.reopen(), closed);
    assert_eq!(engine.sizes().map(drop), closed);
    assert!(!engine.wants_reopen());
}

#[test]
fn an_ordered_sync_failure_lasts_until_reopen() {
    let engine = MemoryEngine::new();
    engine.apply(vec![put("a", "1")]).unwrap();
    engine.fail_next_sync();
    assert_eq!(engine.sync(), Err(StoreError::OutcomeUnknown));
    assert_eq!(engine.flush(), Err(StoreError::OutcomeUnknown));
    assert!(matches!(
        engine.apply(vec![put("a", "2")]),
        Err(StoreError::Unavailable { .. })
    ));
    assert!(engine.wants_reopen());
    engine.reopen().unwrap();
    engine.apply(vec![put("a", "3")]).unwrap();
    engine.sync().unwrap();
    assert_eq!(engine.get(b"a").unwrap(), Some(b"3".to_vec()));
}

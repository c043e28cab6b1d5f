//! What only the sled engine promises: chunks, files, damage, the floor. Crashes are in `crash_tests`.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::store::error::OpenError;
use crate::store::kv::engine_tests::{bytes, open_sled, put, remove, scan};
use crate::store::kv::keys;
use crate::store::kv::memory::MemoryEngine;

pub(super) const EVERYTHING: RangeInclusive<&[u8]> = RangeInclusive::new(b"", b"\xff");

/// All keys as sled holds them.
/// The keys that sled holds, but for the ledger's.
fn raw_keys(engine: &SledEngine) -> Vec<Vec<u8>> {
    let all = |db: &Db| Ok(db.iter().keys().map(|key| key.unwrap().to_vec()).collect());
    let mut keys: Vec<Vec<u8>> = engine.read(b"", all).unwrap();
    keys.retain(|key| *key != stats_record::KEY);
    keys
}

pub(super) fn commit(engine: &SledEngine, batch: Vec<Write>) {
    engine.apply(batch).unwrap();
    engine.flush().unwrap();
    engine.sync().unwrap();
}

fn damage(result: Result<SledEngine>) -> String {
    match result.map(drop) {
        Err(StoreError::Open(OpenError::Damaged { detail, .. })) => detail,
        other => panic!("expected a damaged store, got {other:?}"),
    }
}

/// A database of some segments, closed.
fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_sled(directory.path());
    for n in 0..200_u8 {
        commit(&engine, vec![put([n], bytes(50_000)), put([n, 0], [n])]);
    }
    engine.close().unwrap();
    directory
}

#[test]
fn no_chunk_is_left_behind_and_no_blob_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_sled(directory.path());
    let written = |length: usize| {
        engine
            .apply(vec![put("key", bytes(length)), put("other", "x")])
            .unwrap();
        raw_keys(&engine).len() - 2
    };
    let kib_64 = 64 * 1024;
    assert_eq!(
        [written(0), written(kib_64), written(kib_64 + 1), written(1)],
        [0, 0, 2, 0]
    );
    assert_eq!(
        [written(5 << 20), written(2 * kib_64), written(5 << 20)],
        [80, 2, 80]
    );
    engine
        .apply(vec![put("key", bytes(3 << 20)), put("key", bytes(1 << 20))])
        .unwrap();
    assert_eq!(raw_keys(&engine).len() - 2, 16);
    commit(&engine, vec![remove("key")]);
    assert_eq!(raw_keys(&engine), [b"other"]);
}

#[test]
fn sled_never_makes_a_blob() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_sled(directory.path());
    let blobs = directory.path().join("db/blobs");
    let untouched = fs::metadata(&blobs).unwrap().modified().unwrap();
    // The largest leaves there can be: all inline, filled in one batch, thinned out so that they merge, refilled.
    let all = |part: u32| {
        (0..200_u32).map(move |n| put((n * 7 % 200).to_be_bytes(), bytes(65_536 - part as usize)))
    };
    commit(&engine, all(0).collect());
    commit(
        &engine,
        (0..200_u32)
            .filter(|n| n % 7 != 0)
            .map(|n| remove(n.to_be_bytes()))
            .collect(),
    );
    commit(&engine, all(1).collect());
    for n in 0..4 {
        commit(
            &engine,
            vec![
                put("long", bytes((5 << 20) - n)),
                put("longer", bytes((16 << 20) - n)),
            ],
        );
    }
    assert_eq!(
        fs::metadata(&blobs).unwrap().modified().unwrap(),
        untouched,
        "sled made a file that it does not sync"
    );
}

#[test]
fn a_failed_reopen_can_be_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_sled(directory.path());
    commit(&engine, vec![put("a", "1")]);
    let (log, aside) = (directory.path().join("db/db"), directory.path().join("aside"));
    fs::rename(&log, &aside).unwrap();
    assert!(matches!(
        engine.reopen(),
        Err(StoreError::Open(OpenError::Damaged { .. }))
    ));
    assert!(engine.wants_reopen());
    assert!(matches!(engine.get(b"a"), Err(StoreError::Unavailable { .. })));
    assert!(matches!(
        engine.apply(vec![put("a", "2")]),
        Err(StoreError::Unavailable { .. })
    ));
    let (whole, gone) = (directory.path().join("db"), directory.path().join("gone"));
    fs::rename(&aside, &log).unwrap();
    fs::rename(&whole, &gone).unwrap();
    assert!(
        engine.reopen().is_err(),
        "an empty database took the place of one that was there"
    );
    fs::rename(&gone, &whole).unwrap();
    engine.reopen().unwrap();
    assert_eq!(engine.get(b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn a_missing_chunk_is_damage_of_its_record_alone() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_sled(directory.path());
    commit(&engine, vec![put("long/\n", bytes(200_000)), put("short", "x")]);
    let chunk = raw_keys(&engine).pop().unwrap();
    engine.read(b"", |db| Ok(db.remove(&chunk)?)).unwrap();
    match engine.get(b"long/\n") {
        Err(StoreError::Corrupt { record, .. }) => assert_eq!(record, keys::readable(b"long/\n")),
        other => panic!("expected a corrupt record, got {other:?}"),
    }
    assert_eq!(engine.get(b"short").unwrap(), Some(b"x".to_vec()));
    assert!(!engine.wants_reopen(), "reopening mends no record");
    commit(&engine, vec![put("long/\n", "whole again")]);
    assert_eq!(raw_keys(&engine).len(), 2);
}

#[test]
fn a_second_opener_is_told_who_is_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_sled(directory.path());
    let refused = SledEngine::open(SledConfig::new(directory.path())).map(drop);
    let name = directory.path().display().to_string();
    assert_eq!(
        refused,
        Err(StoreError::Open(OpenError::InUse { location: name }))
    );
    engine.close().unwrap();
    open_sled(directory.path());
}

#[test]
fn opening_waits_for_the_threads_of_the_last_instance() {
    let directory = filled();
    let straggler = File::open(directory.path().join("db/db")).unwrap();
    straggler.lock().unwrap();
    std::thread::scope(|scope| {
        let (sender, opened) = mpsc::channel();
        let path = directory.path();
        scope.spawn(move || sender.send(open_sled(path)).unwrap());
        assert!(
            opened.recv_timeout(Duration::from_millis(100)).is_err(),
            "opened a log that is in use"
        );
        drop(straggler);
        assert_eq!(opened.recv().unwrap().get(&[1, 0]).unwrap(), Some(vec![1]));
    });
}

#[test]
fn what_a_killed_start_leaves_behind_is_cleared() {
    let directory = filled();
    fs::write(
        directory.path().join("db/snap.7FFFFFFFFFFFFFFF.generating"),
        "cut off",
    )
    .unwrap();
    assert_eq!(
        scan(&open_sled(directory.path()), EVERYTHING, Direction::Forward).len(),
        400
    );

    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("db.creating")).unwrap();
    fs::write(directory.path().join("db.creating/conf"), "cut off").unwrap();
    commit(&open_sled(directory.path()), vec![put("a", "1")]);
    assert!(!directory.path().join("db.creating").exists());
}

#[test]
fn the_floor_refuses_writes_and_leaves_reads_alone() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_sled(directory.path());
    commit(&engine, vec![put("a", "1")]);
    engine.admit().unwrap();
    engine.close().unwrap();
    let config = SledConfig {
        min_free_bytes: Some(u64::MAX),
        ..SledConfig::new(directory.path())
    };
    let engine = SledEngine::open(config).unwrap();
    assert!(matches!(
        engine.admit(),
        Err(StoreError::Full {
            floor_bytes: u64::MAX,
            ..
        })
    ));
    assert_eq!(engine.get(b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn a_reopen_is_wanted_after_the_configured_length_of_log() {
    let directory = tempfile::tempdir().unwrap();
    let config = SledConfig {
        reopen_after_bytes: 24 << 20,
        ..SledConfig::new(directory.path())
    };
    let engine = SledEngine::open(config).unwrap();
    for round in 0..3_u32 {
        assert!(!engine.wants_reopen(), "round {round}");
        let groups = (0..1000_u32).take_while(|n| {
            commit(
                &engine,
                vec![put((round * 1000 + n).to_be_bytes(), bytes(60_000))],
            );
            !engine.wants_reopen()
        });
        assert!((50..400).contains(&groups.count()), "round {round}");
        engine.reopen().unwrap();
    }
    assert!(engine.sizes().unwrap().disk_bytes > 8 << 20);
}

#[test]
fn a_compaction_leaves_no_more_log_to_read_than_any_other_writes() {
    let directory = tempfile::tempdir().unwrap();
    let config = SledConfig {
        reopen_after_bytes: 8 << 20,
        ..SledConfig::new(directory.path())
    };
    let engine = SledEngine::open(config).unwrap();
    for n in 0..800_u32 {
        commit(&engine, vec![put(n.to_be_bytes(), bytes(60_000))]);
    }
    let before = scan(&engine, EVERYTHING, Direction::Forward);
    while engine.compact().unwrap() != Compacting::Ready {}
    let log_bytes = engine.compaction.lock().as_ref().unwrap().log_bytes();
    assert!(log_bytes < 12 << 20, "{log_bytes} of 48 MB");
    engine.reopen().unwrap();
    assert!(scan(&engine, EVERYTHING, Direction::Forward) == before);
}

#[test]
fn a_missing_or_emptied_file_is_named() {
    for name in ["db", "conf"] {
        let directory = filled();
        let file = directory.path().join("db").join(name);
        fs::write(&file, "").unwrap();
        let detail = damage(SledEngine::open(SledConfig::new(directory.path())));
        assert_eq!(detail, format!("{} is empty", file.display()));
        fs::remove_file(&file).unwrap();
        let detail = damage(SledEngine::open(SledConfig::new(directory.path())));
        assert_eq!(detail, format!("{} is missing", file.display()));
    }
}

/// The snapshot of the page table that opening writes.
fn snapshot(directory: &Path) -> PathBuf {
    let mut files = fs::read_dir(directory.join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap."))
        .unwrap()
}

#[test]
fn an_overwritten_log_or_snapshot_is_damage() {
    let directory = filled();
    let log = directory.path().join("db/db");
    fs::write(&log, vec![0_u8; fs::metadata(&log).unwrap().len() as usize]).unwrap();
    damage(SledEngine::open(SledConfig::new(directory.path())));

    // Without a snapshot that says otherwise, sled would start empty.
    let directory = filled();
    let log = directory.path().join("db/db");
    fs::remove_file(snapshot(directory.path())).unwrap();
    fs::write(&log, "cut off").unwrap();
    let detail = damage(SledEngine::open(SledConfig::new(directory.path())));
    assert_eq!(detail, format!("{} holds no database any more", log.display()));

    let directory = filled();
    fs::write(snapshot(directory.path()), "not a snapshot").unwrap();
    damage(SledEngine::open(SledConfig::new(directory.path())));
}

/// Whatever happened to the file: every answer is an error or the value that was written, never a panic or nothing.
fn check_damaged(directory: &Path) {
    let engine = match SledEngine::open(SledConfig::new(directory)) {
        Ok(engine) => engine,
        Err(StoreError::Open(OpenError::Damaged { .. })) => return,
        Err(other) => panic!("expected damage, got {other:?}"),
    };
    for n in 0..200_u8 {
        match engine.get(&[n]) {
            Err(StoreError::Corrupt { .. }) => {}
            Ok(Some(value)) => assert_eq!(value, bytes(50_000)),
            other => panic!("expected damage, got {other:?}"),
        }
    }
    let _ = engine.scan(EVERYTHING, Direction::Backward, &mut |_, _| {
        ControlFlow::Continue(())
    });
    let _ = engine
        .apply(vec![put("a", "1")])
        .and_then(|()| engine.flush())
        .and_then(|()| engine.sync());
    let _ = engine.reopen();
}

#[test]
fn a_truncated_log_gives_errors_and_no_panic() {
    for keep in [1, 100, 5_000, 1 << 20, (8 << 20) + 7, 15 << 20] {
        let directory = filled();
        let log = fs::File::options()
            .write(true)
            .open(directory.path().join("db/db"))
            .unwrap();
        log.set_len(keep).unwrap();
        check_damaged(directory.path());
    }
}

#[test]
fn flipped_bytes_give_errors_and_no_panic() {
    for stride in [11, 4_099, 1 << 20] {
        let directory = filled();
        let path = directory.path().join("db/db");
        let mut log = fs::read(&path).unwrap();
        log.iter_mut()
            .skip(stride / 2)
            .step_by(stride)
            .for_each(|byte| *byte ^= 0x40);
        fs::write(&path, log).unwrap();
        check_damaged(directory.path());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<Write>),
    Scan(Vec<u8>, Vec<u8>, Direction),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few keys, so that they are written again; prefixes of each other and the last byte before chunk keys.
    let key = || vec(prop::sample::select(vec![0_u8, 1, b'a', 0xFE]), 1..4);
    let length = prop_oneof![6 => 0..200_usize, 2 => 65_530..65_545_usize, 1 => 65_536..300_000_usize];
    let write = prop_oneof![
        3 => (key(), length).prop_map(|(key, length)| Write::Put(key, bytes(length))),
        1 => key().prop_map(Write::Remove),
    ];
    let direction = prop::sample::select(vec![Direction::Forward, Direction::Backward]);
    let step = prop_oneof![
        8 => vec(write, 1..20).prop_map(Step::Apply),
        4 => (key(), vec(any::<u8>(), 0..4), direction).prop_map(|(from, to, way)| Step::Scan(from, to, way)),
        1 => Just(Step::Reopen),
    ];
    vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sled_behaves_as_the_memory_engine(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let (sled, model) = (open_sled(directory.path()), MemoryEngine::new());
        for step in steps {
            match step {
                Step::Apply(batch) => {
                    sled.apply(batch.clone()).unwrap();
                    model.apply(batch).unwrap();
                }
                Step::Scan(from, to, way) => {
                    let (from, to) = (from.as_slice(), to.as_slice());
                    prop_assert!(scan(&sled, from..=to, way) == scan(&model, from..=to, way), "{from:?}..={to:?}");
                }
                Step::Reopen => sled.reopen().unwrap(),
            }
        }
        let all = scan(&model, EVERYTHING, Direction::Forward);
        prop_assert!(scan(&sled, EVERYTHING, Direction::Forward) == all);
        for (key, value) in &all {
            prop_assert!(sled.get(key).unwrap().as_ref() == Some(value));
        }
    }
}

//! Files of backups and directories of stores: broken, replaced, interrupted, older.

use super::*;

/// A backup of a small store, in pieces: its lines.
fn with_backup<T>(test: impl AsyncFnOnce(&Bench, PathBuf) -> T) -> T {
    within_limit(async {
        let bench = Bench::new(Kind::Memory);
        fill(&bench).await;
        let file = bench.directory.path().join("backup");
        back_up_to(&*bench.store, &file).await;
        test(&bench, file).await
    })
}

#[test]
fn what_is_no_whole_backup_is_refused_by_name_and_touches_nothing() {
    with_backup(async |bench, file| {
        let target = tempfile::tempdir().unwrap();
        let other = open(target.path());
        other.commit(simple(&id("stays"))).await.unwrap();
        other.close().await.unwrap();
        let whole = fs::read(&file).unwrap();
        let lines = zstd::decode_all(&whole[..]).unwrap();
        let text = String::from_utf8(lines.clone()).unwrap();
        let packed = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
        let without_last = &text[..text[..text.len() - 1].rfind('\n').unwrap() + 1];
        let swapped = text.replacen("a11", "a12", 1);
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        let newer = text.replacen("\"format\":2", "\"format\":9", 1);
        for (name, bytes, expected) in [
            (
                "a text",
                b"not a backup".to_vec(),
                "is not a backup of an article store",
            ),
            ("nothing", Vec::new(), "is not a backup of an article store"),
            (
                "another format",
                packed("{\"id\":\"x\"}\n"),
                "is not a backup of an article store",
            ),
            ("half", whole[..whole.len() / 2].to_vec(), "is cut off after"),
            ("no manifest", packed(without_last), "is cut off after"),
            ("another letter", packed(&swapped), "was altered"),
            // Where the bit says how long a frame is, the rest is missing.
            (
                "a flipped bit",
                flipped,
                "backup of an article store|was altered|is cut off after",
            ),
            (
                "newer",
                packed(&newer),
                "has backup format 9, and this version reads formats up to 2",
            ),
        ] {
            let bad = bench.directory.path().join(name);
            fs::write(&bad, bytes).unwrap();
            let refused = restore(&bad, &config(target.path()), true).await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(&bad.display().to_string()), "{name}: {refused}");
            let is_expected = expected.split('|').any(|expected| refused.contains(expected));
            assert!(is_expected, "{name}: {refused}");
            let still = open(target.path());
            assert_eq!(states(&still).await.len(), 1, "{name}");
            still.close().await.unwrap();
        }
    });
}

#[test]
fn a_restore_replaces_a_store_only_when_told() {
    with_backup(async |bench, file| {
        let target = tempfile::tempdir().unwrap();
        let other = open(target.path());
        other.commit(simple(&id("goes"))).await.unwrap();
        let restore = async |replace| restore(&file, &config(target.path()), replace).await;
        assert!(matches!(
            restore(true).await,
            Err(BackupError::Store(StoreError::Open(OpenError::InUse { .. })))
        ));
        other.close().await.unwrap();
        assert!(matches!(
            restore(false).await,
            Err(BackupError::Store(StoreError::Open(OpenError::NotEmpty { .. })))
        ));
        restore(true).await.unwrap();
        let store = open(target.path());
        is_the_same(&*bench.store, &store).await;
        store.close().await.unwrap();
        let mut left: Vec<_> = fs::read_dir(target.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["db", "lock"]);
    });
}

#[test]
fn a_backup_can_be_read_from_any_frame_on() {
    within_limit(async {
        let bench = Bench::new(Kind::Memory);
        for number in 0..3 {
            let text = noise(number, 3 << 20);
            let new = create(&id(&format!("a{number}")), metadata(), content("t", &[&text]));
            bench.store.commit(new).await.unwrap();
        }
        let file = bench.directory.path().join("backup");
        back_up_to(&*bench.store, &file).await;
        let whole = fs::read(&file).unwrap();
        let (mut rest, mut frames) = (whole.as_slice(), Vec::new());
        while !rest.is_empty() {
            let bytes = zstd::zstd_safe::find_frame_compressed_size(rest).unwrap();
            let (frame, behind) = rest.split_at(bytes);
            frames.push(zstd::decode_all(frame).unwrap());
            rest = behind;
        }
        assert!(frames.len() >= 2, "{}", frames.len());
        let is_of_lines = |frame: &Vec<u8>| frame.starts_with(b"{") && frame.ends_with(b"}\n");
        assert!(frames.iter().all(is_of_lines));
        assert!(frames.concat() == zstd::decode_all(whole.as_slice()).unwrap());
    });
}

/// What the next open of a closed store reads: sled's log from its newest snapshot to where it ended.
fn log_to_read(directory: &Path) -> u64 {
    let db = directory.join("db");
    let end = fs::read_to_string(db.join("end")).unwrap();
    let end: u64 = end.split(' ').next().unwrap().parse().unwrap();
    let names = fs::read_dir(&db)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let snapshots = names.filter_map(|name| u64::from_str_radix(name.strip_prefix("snap.")?, 16).ok());
    // Where sled takes one more as it closes, nothing is left to read.
    end.saturating_sub(snapshots.max().unwrap())
}

#[test]
fn a_restored_store_has_little_log_to_read() {
    within_limit(async {
        let bench = Bench::new(Kind::Memory);
        for number in 0..12 {
            let text = noise(number, 1 << 20);
            let article = id(&format!("a{number}"));
            let new = create(&article, metadata(), content("t", &[&text]));
            bench.store.commit(new).await.unwrap();
        }
        let (file, target) = (
            bench.directory.path().join("backup"),
            tempfile::tempdir().unwrap(),
        );
        back_up_to(&*bench.store, &file).await;
        let config = SledConfig {
            reopen_after_bytes: 1 << 20,
            ..config(target.path())
        };
        let done = restore(&file, &config, false).await;
        let live_bytes = done.unwrap().status.sizes.unwrap().live_bytes;
        assert!(live_bytes > 8 << 20, "{live_bytes}");
        let log_bytes = log_to_read(target.path());
        assert!(log_bytes < 6 << 20, "{log_bytes} of {live_bytes}");
    });
}

#[test]
fn a_process_killed_between_the_renames_keeps_the_old_store() {
    within_limit(async {
        let target = tempfile::tempdir().unwrap();
        let store = open(target.path());
        store.commit(simple(&id("stays"))).await.unwrap();
        store.close().await.unwrap();
        fs::rename(target.path().join("db"), target.path().join("db.old")).unwrap();
        fs::create_dir_all(target.path().join("new/db")).unwrap();
        let store = open(target.path());
        assert_eq!(states(&store).await.len(), 1);
        assert!(!target.path().join("new").exists());
        store.close().await.unwrap();
    });
}

#[test]
fn a_restore_of_an_older_backup_does_not_bring_back_what_was_purged() {
    with_backup(async |bench, file| {
        let target = tempfile::tempdir().unwrap();
        restored(&file, target.path()).await.close().await.unwrap();
        let store = open(target.path());
        let purged = id("a7");
        let state = store
            .articles(std::slice::from_ref(&purged))
            .await
            .unwrap()
            .pop()
            .unwrap()
            .unwrap();
        store.commit(purge(&purged, state.head.version())).await.unwrap();
        store.close().await.unwrap();
        for killed_between_the_renames in [false, true] {
            if killed_between_the_renames {
                fs::rename(target.path().join("db"), target.path().join("db.old")).unwrap();
            }
            let config = config(target.path());
            restore(&file, &config, true).await.unwrap();
            let store = open(target.path());
            assert_eq!(store.check().await.unwrap(), []);
            assert_eq!(states(&store).await.len(), 39);
            let tombstone = store.tombstone(&purged).await.unwrap().unwrap();
            assert_eq!(tombstone.article, purged);
            assert_eq!(store.lookup(&state.head.aliases).await.unwrap(), [None]);
            let refused = store.commit(simple(&purged)).await;
            assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
            let untouched = bench.article(&id("a8")).await;
            assert_eq!(store.articles(&[id("a8")]).await.unwrap(), [untouched]);
            store.close().await.unwrap();
        }
    });
}

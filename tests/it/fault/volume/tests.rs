//! The rules of what a power loss leaves, one by one.

use super::*;

fn written(offset: u64, byte: u8) -> Event {
    let data = vec![byte; PAGE];
    Event::Written {
        inode: 1,
        offset,
        data,
    }
}

fn created(path: &str, inode: u64) -> Event {
    let path = path.into();
    Event::Created { path, inode }
}

fn synced(inode: u64, sync: u64) -> [Event; 2] {
    let done = true;
    [Event::SyncBegan { sync }, Event::SyncEnded { inode, sync, done }]
}

/// What a power loss leaves of a file; the root is inode 0.
fn left(events: &[Event], path: &str) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let mut volume = Volume::of(directory.path());
    volume.by_inode.insert(0, 0);
    events.iter().for_each(|event| volume.apply(event));
    let image = directory.path().join("image");
    volume.write_image(&image, Loss::Unsynced, &mut Random::new(0));
    fs::read(image.join(path)).ok()
}

fn page(byte: u8) -> Vec<u8> {
    vec![byte; PAGE]
}

/// A file of one page of ones, all of it on the disk.
fn safe() -> Vec<Event> {
    [
        &[created("f", 1), written(0, 1)][..],
        &synced(1, 1),
        &synced(0, 2),
    ]
    .concat()
}

#[test]
fn only_what_was_synced_after_it_was_written_is_left() {
    let mut events = vec![created("f", 1), written(0, 1)];
    assert_eq!(left(&[&events[..], &synced(1, 1)].concat(), "f"), None);
    assert_eq!(left(&[&events[..], &synced(0, 1)].concat(), "f"), Some(vec![]));
    events = safe();
    assert_eq!(left(&events, "f"), Some(page(1)));
    let [began, ended] = synced(1, 3);
    events.extend([began, written(0, 2), ended]);
    assert_eq!(left(&events, "f"), Some(page(1)));
    events.extend(synced(1, 4));
    assert_eq!(left(&events, "f"), Some(page(2)));
}

#[test]
fn names_need_a_sync_of_their_directory() {
    let mut events = safe();
    events.push(Event::Renamed {
        from: "f".into(),
        to: "g".into(),
    });
    events.extend(synced(1, 3));
    assert_eq!((left(&events, "f"), left(&events, "g")), (Some(page(1)), None));
    events.extend(synced(0, 4));
    assert_eq!((left(&events, "f"), left(&events, "g")), (None, Some(page(1))));
    events.push(Event::Removed { path: "g".into() });
    assert_eq!(left(&events, "g"), Some(page(1)));
    events.extend(synced(0, 5));
    assert_eq!(left(&events, "g"), None);
}

#[test]
fn what_a_failed_sync_lost_is_not_left_by_the_next_one() {
    let mut lost = safe();
    lost.extend([written(0, 2), Event::Lost { inode: 1 }]);
    lost.extend(synced(1, 3));
    assert_eq!(left(&lost, "f"), Some(page(1)));
    let byte = Event::Written {
        inode: 1,
        offset: 0,
        data: vec![3],
    };
    // The page is dirty again as a whole, unless it was read from the disk before.
    let rewritten = [&lost[..], std::slice::from_ref(&byte), &synced(1, 4)].concat();
    assert_eq!(left(&rewritten, "f"), Some([&[3], &page(2)[1..]].concat()));
    let dropped = [
        &lost[..],
        &[Event::CacheDropped { inode: 1 }, byte],
        &synced(1, 4),
    ]
    .concat();
    assert_eq!(left(&dropped, "f"), Some([&[3], &page(1)[1..]].concat()));
}

#[test]
fn a_cut_takes_what_is_behind_it() {
    let resized = |pages: u64| Event::Resized {
        inode: 1,
        bytes: pages * PAGE as u64,
    };
    let mut events = safe();
    events.extend([resized(0), resized(1)]);
    assert_eq!(left(&events, "f"), Some(page(1)));
    events.extend(synced(1, 3));
    assert_eq!(left(&events, "f"), Some(page(0)));
}

//! Power loss while a backup is restored in the place of a store: what the command does to its files is recorded and cut off
//! at random points. Every image that may be left there is the old store or the whole new one, and the new one once the
//! command has said so.

use std::fs;

use super::image::Cut;
use super::recording::Event;
use super::shim::Shim;
use super::volume::{Loss, Volume};
use super::{Kept, Random, random, times};
use crate::kill_admin::{command, make, states, store, text};

fn changes_names(event: &Event) -> bool {
    matches!(
        event,
        Event::Created { .. } | Event::DirectoryMade { .. } | Event::Renamed { .. } | Event::Removed { .. }
    )
}

/// Most of them about the changes of names, for these are the switch; the last one behind the end.
fn cuts(events: &[Event], count: usize, random: &mut Random) -> Vec<Cut> {
    let numbered = events.iter().enumerate();
    let named: Vec<_> = numbered.filter(|(_, event)| changes_names(event)).collect();
    let mut cuts: Vec<_> = (1..count)
        .map(|_| match random.below(4) {
            0 => random.below(events.len() as u64 + 1) as usize,
            _ => named[random.below(named.len() as u64) as usize].0 + random.below(4) as usize,
        })
        .map(|at| Cut(at.min(events.len())))
        .collect();
    cuts.push(Cut(events.len()));
    cuts.sort();
    cuts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_survives_power_loss() {
    let images = times("ARTICLE_STORE_TEST_IMAGES", 24) as usize;
    let seed = random(u64::MAX);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let directory = tempfile::tempdir().unwrap();
    let shim = Shim::new(directory.path(), "volume", false);
    fs::create_dir(&shim.root).unwrap();
    let (target, source) = (shim.root.join("store"), directory.path().join("source"));
    make(&target, "old", 30).await;
    make(&source, "new", 40).await;
    let file = directory.path().join("backup");
    let made = command(&["backup", text(&file), "--store", &store(&source)]).status();
    assert!(made.unwrap().success());
    let sides = [states(&target).await, states(&source).await];

    let mut volume = Volume::of(&shim.root);
    let at = store(&target);
    let args = [
        "restore",
        text(&file),
        "--store",
        &at,
        "--replace",
        "--min-free-bytes",
        "0",
    ];
    assert!(shim.below(command(&args)).status().unwrap().success());
    let events = Event::read(&shim.record);
    let (mut applied, mut found) = (0, [0, 0]);
    for (number, cut) in cuts(&events, images, &mut random).into_iter().enumerate() {
        events[applied..cut.0]
            .iter()
            .for_each(|event| volume.apply(event));
        applied = cut.0;
        let loss = [Loss::Unsynced, Loss::Random][number % 2];
        let kept = Kept::new(format!("image {number}: {loss:?}, behind event {applied}"));
        let image = kept.path().join("volume");
        volume.write_image(&image, loss, &mut random);
        let states = states(&image.join("store")).await;
        let side = sides.iter().position(|side| *side == states);
        let side = side.expect("it is neither the old store nor the new one");
        assert!(side == 1 || applied < events.len(), "the restore was done");
        found[side] += 1;
    }
    volume.assert_is(&shim.root);
    println!(
        "{images} images of a restore with {} events: {} old stores, {} new ones",
        events.len(),
        found[0],
        found[1]
    );
}

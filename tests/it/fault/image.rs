//! Images of a recorded volume after a power loss: each is opened by the real server and compared with what was
//! acknowledged before.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::path::Path;

use tempfile::TempDir;

use super::client::Client;
use super::recording::{Event, History, Past};
use super::story::Known;
use super::volume::{Loss, Volume};
use super::{Kept, Random, agrees};
use crate::harness::Setup;

/// The store's directory in the volume; the one above it is made with it.
pub(super) const STORE: &str = "articles/store";

/// What was recorded, ready to be replayed.
pub(super) struct Recording {
    /// The volume when the recording began.
    pub(super) begin: Volume,
    pub(super) events: Vec<Event>,
    pub(super) history: History,
    /// Commits before the recording.
    pub(super) commits: u64,
    /// Writes that may be under way at once.
    pub(super) writers: usize,
}

/// The point of a power loss: the number of events before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut(pub(super) usize);

/// What the images were like.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) images: usize,
    /// Images at whose moment something was not synced.
    pub(super) lossy: usize,
    /// Acknowledged writes that were there, summed over the images.
    pub(super) acknowledged: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.images += other.images;
        self.lossy += other.lossy;
        self.acknowledged += other.acknowledged;
    }
}

/// What an image holds: its commits, and what each story is.
pub(super) struct Found {
    pub(super) commits: u64,
    pub(super) stories: BTreeMap<String, Known>,
}

/// An image for the next recording to begin with.
pub(super) struct Left {
    pub(super) directory: TempDir,
    pub(super) found: Found,
}

impl Recording {
    /// Points where the power may be cut: anywhere, behind acknowledgements, about syncs, and while names change.
    pub(super) fn cuts(&self, count: usize, random: &mut Random) -> Vec<Cut> {
        let places = |wanted: fn(&Event) -> bool| -> Vec<usize> {
            let numbered = self.events.iter().enumerate();
            numbered
                .filter(|(_, event)| wanted(event))
                .map(|(at, _)| at)
                .collect()
        };
        let acknowledged = places(|event| matches!(event, Event::Acknowledged { .. }));
        let synced = places(|event| matches!(event, Event::SyncBegan { .. } | Event::SyncEnded { .. }));
        let named = places(|event| {
            matches!(
                event,
                Event::Created { .. }
                    | Event::DirectoryMade { .. }
                    | Event::Renamed { .. }
                    | Event::Removed { .. }
            )
        });
        let any = |places: &[usize], random: &mut Random| places[random.below(places.len() as u64) as usize];
        let mut cuts: Vec<_> = (0..count)
            .map(|_| match random.below(4) {
                0 => random.below(self.events.len() as u64 + 1) as usize,
                1 => any(&acknowledged, random) + 1,
                2 => any(&synced, random) + random.below(2) as usize,
                _ => any(&named, random) + random.below(6) as usize,
            })
            .map(|at| Cut(at.min(self.events.len())))
            .collect();
        cuts.sort();
        cuts
    }

    /// Opens and compares an image for each cut, which are in order. Answers one of them, as it was before it was opened.
    pub(super) async fn verify(
        mut self,
        cuts: &[Cut],
        random: &mut Random,
        root: &Path,
    ) -> (Tally, Option<Left>) {
        let stories = self.history.stories();
        let (mut tally, mut left) = (Tally::default(), None);
        let (mut applied, mut acknowledged, mut committed) = (0, 0, self.commits);
        for (number, cut) in cuts.iter().enumerate() {
            for event in &self.events[applied..cut.0] {
                self.begin.apply(event);
                if let Event::Acknowledged { number, commits } = event {
                    acknowledged = *number;
                    committed += commits;
                }
            }
            applied = cut.0;
            let loss = [Loss::Unsynced, Loss::Random][number % 2];
            let mut again = random.clone();
            let kept = Kept::new(format!(
                "image {number}: {loss:?}, {acknowledged} acknowledged, behind event {applied}"
            ));
            let image = kept.path().join("volume");
            self.begin.write_image(&image, loss, random);
            let found = compare(&image.join(STORE), &stories, acknowledged).await;
            assert!(
                (committed..=committed + self.writers as u64).contains(&found.commits),
                "{} commits instead of {committed}",
                found.commits
            );
            drop(kept);
            tally += Tally {
                images: 1,
                lossy: usize::from(self.begin.unsynced() > 0),
                acknowledged,
            };
            if number + 1 == cuts.len() || random.below(cuts.len() as u64) == 0 {
                let directory = tempfile::tempdir().unwrap();
                self.begin
                    .write_image(&directory.path().join("volume"), loss, &mut again);
                left = Some(Left { directory, found });
            }
        }
        for event in &self.events[applied..] {
            self.begin.apply(event);
        }
        self.begin.assert_is(root);
        (tally, left)
    }
}

/// Opens a store and compares it with what was acknowledged.
async fn compare(store: &Path, stories: &[Past], acknowledgements: u64) -> Found {
    let server = Setup::sled_in(store).start().await;
    let mut client = Client::connect(format!("http://{}", server.address)).await;
    let mut found = BTreeMap::new();
    for past in stories {
        let mut story = past.story.clone();
        let moments = past.at(acknowledgements);
        for moment in moments {
            story.known = moment.known.clone();
            let known = client.read(&story).await.unwrap();
            if moments[0].allows(&known) || moment.known == known {
                found.insert(story.name.clone(), known);
                break;
            }
        }
        assert!(
            found.contains_key(&story.name),
            "an acknowledged write to {} is not there, or one that was not is there in parts: {moments:?}",
            story.name
        );
    }
    let listed = client.list().await.unwrap();
    let expected = found.iter().filter(|(_, known)| known.is_listed());
    assert!(
        listed.iter().eq(expected.map(|(name, _)| name)),
        "the list differs"
    );
    drop(client);
    let commits = agrees(&*server.store).await;
    server.stop().await;
    Found {
        commits,
        stories: found,
    }
}

//! What happened to the files of a server, in order, as the shim recorded it, and what was acknowledged between.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::story::{Known, State, Story};

/// The kind of a record that this process appends, beside those of `shim.c`.
const ACKNOWLEDGED: u32 = 100;

/// Something that happened to the volume. Paths lead from its root; an inode is known from its making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Created {
        path: String,
        inode: u64,
    },
    DirectoryMade {
        path: String,
        inode: u64,
    },
    Written {
        inode: u64,
        offset: u64,
        data: Vec<u8>,
    },
    Resized {
        inode: u64,
        bytes: u64,
    },
    Renamed {
        from: String,
        to: String,
    },
    Removed {
        path: String,
    },
    SyncBegan {
        sync: u64,
    },
    SyncEnded {
        inode: u64,
        sync: u64,
        done: bool,
    },
    SyncAllEnded {
        sync: u64,
        done: bool,
    },
    /// A sync failed, and what it had to sync will never be on the disk.
    Lost {
        inode: u64,
    },
    /// What is cached and not dirty is what the disk has again.
    CacheDropped {
        inode: u64,
    },
    /// A client got an answer to its write; the number of its commits. See [`History`].
    Acknowledged {
        number: u64,
        commits: u64,
    },
}

impl Event {
    /// All events of a record.
    pub(super) fn read(record: &Path) -> Vec<Self> {
        let bytes = std::fs::read(record).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while !rest.is_empty() {
            events.push(Self::next(&mut rest));
        }
        events
    }

    fn next(rest: &mut &[u8]) -> Self {
        let kind = u32::from_ne_bytes(take(rest, 4).try_into().unwrap());
        let done = take(rest, 4) == [0; 4];
        let mut number = || u64::from_ne_bytes(take(rest, 8).try_into().unwrap());
        let (inode, number) = (number(), number());
        let mut length = || u32::from_ne_bytes(take(rest, 4).try_into().unwrap()) as usize;
        let (path_bytes, data_bytes) = (length(), length());
        let path = String::from_utf8(take(rest, path_bytes).to_vec()).unwrap();
        let data = take(rest, data_bytes).to_vec();
        match kind {
            1 => Self::Created { path, inode },
            2 => Self::DirectoryMade { path, inode },
            3 => Self::Written {
                inode,
                offset: number,
                data,
            },
            4 => Self::Resized { inode, bytes: number },
            5 => {
                let (from, to) = path.split_once('\0').unwrap();
                Self::Renamed {
                    from: from.into(),
                    to: to.into(),
                }
            }
            6 => Self::Removed { path },
            7 | 9 => Self::SyncBegan { sync: number },
            8 => Self::SyncEnded {
                inode,
                sync: number,
                done,
            },
            10 => Self::SyncAllEnded { sync: number, done },
            11 => Self::Lost { inode },
            12 => Self::CacheDropped { inode },
            ACKNOWLEDGED => Self::Acknowledged {
                number,
                commits: inode,
            },
            _ => panic!("no record has kind {kind}"),
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> &'a [u8] {
    let (taken, behind) = rest.split_at(bytes);
    *rest = behind;
    taken
}

/// What was acknowledged, in the order in which the record says so. Clones share it.
#[derive(Clone)]
pub(super) struct History(Arc<Mutex<Inner>>);

struct Inner {
    record: File,
    acknowledgements: u64,
    stories: BTreeMap<String, Past>,
}

/// A story and what it was after each acknowledgement, from what it was before the first one.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub(super) story: Story,
    moments: Vec<Moment>,
}

/// What a story was from an acknowledgement on.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    acknowledgement: u64,
    pub(super) known: Known,
    /// What it would be with a write that failed, and that may have been applied all the same.
    in_doubt: Option<State>,
}

impl Moment {
    pub(super) fn allows(&self, found: &Known) -> bool {
        *found == self.known || self.in_doubt.as_ref() == Some(&found.state)
    }
}

impl Past {
    fn new(story: Story, known: Known) -> Self {
        let mut past = Self {
            story,
            moments: Vec::new(),
        };
        past.push(0, known);
        past
    }

    fn push(&mut self, acknowledgement: u64, known: Known) {
        self.moments.push(Moment {
            acknowledgement,
            known,
            in_doubt: None,
        });
    }

    /// What the story may be when so much was acknowledged in all: what was acknowledged, or with the write behind it,
    /// which was under way.
    pub(super) fn at(&self, acknowledgements: u64) -> &[Moment] {
        let is_past = |moment: &Moment| moment.acknowledgement <= acknowledgements;
        let newer = self.moments.partition_point(is_past);
        &self.moments[newer - 1..self.moments.len().min(newer + 1)]
    }
}

impl History {
    /// The acknowledgements to come, of these stories and of new ones.
    pub(super) fn new<'a>(record: &Path, stories: impl Iterator<Item = &'a Story>) -> Self {
        let record = File::options().create(true).append(true).open(record).unwrap();
        Self(Arc::new(Mutex::new(Inner {
            record,
            acknowledgements: 0,
            stories: stories
                .map(|story| (story.name.clone(), Past::new(story.clone(), story.known.clone())))
                .collect(),
        })))
    }

    /// Takes in what a story is now: its last write was acknowledged, or was found to be there or not.
    pub(super) fn acknowledged(&self, story: &Story) {
        let mut inner = self.0.lock().unwrap();
        inner.acknowledgements += 1;
        let number = inner.acknowledgements;
        let past = inner.past(story);
        let commits = u64::from(past.moments.last().unwrap().known != story.known);
        past.push(number, story.known.clone());
        let mut record = [0; 32];
        record[..4].copy_from_slice(&ACKNOWLEDGED.to_ne_bytes());
        record[8..16].copy_from_slice(&commits.to_ne_bytes());
        record[16..24].copy_from_slice(&number.to_ne_bytes());
        inner.record.write_all(&record).unwrap();
    }

    /// Takes in that the write that is under way to a story failed.
    pub(super) fn failed(&self, story: &Story) {
        let request = story.in_flight.as_ref().expect("a write is under way");
        let mut inner = self.0.lock().unwrap();
        let moment = inner.past(story).moments.last_mut().unwrap();
        moment.in_doubt = Some(moment.known.state.after(request));
    }

    /// All stories that were written to.
    pub(super) fn stories(&self) -> Vec<Past> {
        self.0.lock().unwrap().stories.values().cloned().collect()
    }
}

impl Inner {
    /// The past of a story, which is that of a new one if it was not written to before.
    fn past(&mut self, story: &Story) -> &mut Past {
        let new = || Past::new(story.clone(), Known::default());
        self.stories.entry(story.name.clone()).or_insert_with(new)
    }
}

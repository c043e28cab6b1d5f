//! A volume as its processes see it and as its disk has it, replayed from a recording.
//!
//! The rules are stricter than those of any file system that the server runs on:
//! - What a write changed is on the disk when a sync of that file that began after the write has succeeded.
//! - A name that was made, changed or removed is on the disk when a sync of its directory that began afterwards has
//!   succeeded; for a rename between directories, syncs of both. Syncing a file says nothing about its name, as it does
//!   on ext4.
//! - What is not synced is not on the disk ([`Loss::Unsynced`]), or parts of it are ([`Loss::Random`]): each page (4 KiB)
//!   in any state that it had since the sync, a length that the file had since, and any of the changes of names that make
//!   sense without the others. In one point that follows journaling file systems: lengths change in order, and what is
//!   written behind a cut is not there without the cut.
//! - After a sync that failed, the pages that were dirty are never written ([`Event::Lost`]); a page that is written again
//!   is written whole.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::Random;
use super::recording::Event;

#[cfg(test)]
mod tests;

const PAGE: usize = 4096;
static ZEROS: LazyLock<Page> = LazyLock::new(|| Arc::new([0; PAGE]));

/// When something happened, counted in events.
type Time = u64;
type Page = Arc<[u8; PAGE]>;
/// A place in the list of nodes; the root is the first.
type Node = usize;
type Names = BTreeMap<String, Node>;

/// What a power loss takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// All that was not synced.
    Unsynced,
    /// A random part of it.
    Random,
}

/// A tree of files.
pub(super) struct Volume {
    nodes: Vec<Content>,
    by_inode: HashMap<u64, Node>,
    /// The names in each directory; none in a file.
    cached: Vec<Names>,
    on_disk: Vec<Names>,
    /// Changes of names that are not on the disk yet, oldest first.
    renames: Vec<Rename>,
    /// When the syncs began.
    syncs: HashMap<u64, Time>,
    now: Time,
}

enum Content {
    File(File),
    Directory,
}

/// A change of names: from nowhere, to nowhere, or between.
struct Rename {
    time: Time,
    node: Node,
    from: Option<(Node, String)>,
    to: Option<(Node, String)>,
    /// Directories that are to be synced until it is on the disk.
    unsynced: Vec<Node>,
}

#[derive(Default)]
struct File {
    cached: Vec<u8>,
    on_disk: Vec<u8>,
    /// States of pages since they were synced, oldest first.
    pages: BTreeMap<usize, Vec<(Time, Page)>>,
    /// Lengths since the sync, oldest first.
    lengths: Vec<(Time, usize)>,
}

impl Volume {
    /// The directory as it is, all of it on the disk.
    pub(super) fn of(root: &Path) -> Self {
        let mut volume = Self {
            nodes: Vec::new(),
            by_inode: HashMap::new(),
            cached: Vec::new(),
            on_disk: Vec::new(),
            renames: Vec::new(),
            syncs: HashMap::new(),
            now: 0,
        };
        volume.load(root);
        volume
    }

    fn load(&mut self, path: &Path) -> Node {
        let inode = fs::metadata(path).unwrap().ino();
        if path.is_dir() {
            let node = self.add(inode, Content::Directory);
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                let child = self.load(&entry.path());
                self.cached[node].insert(name.clone(), child);
                self.on_disk[node].insert(name, child);
            }
            return node;
        }
        let bytes = fs::read(path).unwrap();
        let file = File {
            cached: bytes.clone(),
            on_disk: bytes,
            ..File::default()
        };
        self.add(inode, Content::File(file))
    }

    fn add(&mut self, inode: u64, content: Content) -> Node {
        self.nodes.push(content);
        self.cached.push(Names::new());
        self.on_disk.push(Names::new());
        self.by_inode.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Takes in what happened next.
    pub(super) fn apply(&mut self, event: &Event) {
        self.now += 1;
        let now = self.now;
        match event {
            Event::Created { path, inode } => {
                let node = self.add(*inode, Content::File(File::default()));
                self.rename(node, None, Some(path));
            }
            Event::DirectoryMade { path, inode } => {
                let node = self.add(*inode, Content::Directory);
                self.rename(node, None, Some(path));
            }
            Event::Renamed { from, to } => self.rename(self.named(from), Some(from), Some(to)),
            Event::Removed { path } => self.rename(self.named(path), Some(path), None),
            Event::Written { inode, offset, data } => self.file(*inode).write(now, *offset, data),
            Event::Resized { inode, bytes } => self.file(*inode).resize(now, *bytes),
            Event::SyncBegan { sync } => drop(self.syncs.insert(*sync, now)),
            Event::SyncEnded { inode, sync, done } => {
                let node = self.by_inode[inode];
                if *done {
                    self.sync(node, self.syncs[sync]);
                }
            }
            Event::SyncAllEnded { sync, done } => {
                for node in 0..self.nodes.len() {
                    if *done {
                        self.sync(node, self.syncs[sync]);
                    }
                }
            }
            Event::Lost { inode } => self.file(*inode).pages.clear(),
            Event::CacheDropped { inode } => self.file(*inode).drop_cache(),
            Event::Acknowledged { .. } => {}
        }
    }

    fn file(&mut self, inode: u64) -> &mut File {
        match &mut self.nodes[self.by_inode[&inode]] {
            Content::File(file) => file,
            Content::Directory => panic!("a directory has no bytes"),
        }
    }

    /// The directory that a path is in, and its name there.
    fn place(&self, path: &str) -> (Node, String) {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parts = directory.split('/').filter(|part| !part.is_empty());
        (
            parts.fold(0, |node, part| self.cached[node][part]),
            name.to_owned(),
        )
    }

    fn named(&self, path: &str) -> Node {
        let (directory, name) = self.place(path);
        self.cached[directory][&name]
    }

    fn rename(&mut self, node: Node, from: Option<&String>, to: Option<&String>) {
        let place = |path: &String| self.place(path);
        let (from, to) = (from.map(place), to.map(place));
        let mut unsynced: Vec<_> = from.iter().chain(&to).map(|(directory, _)| *directory).collect();
        unsynced.dedup();
        let rename = Rename {
            time: self.now,
            node,
            from,
            to,
            unsynced,
        };
        rename.apply(&mut self.cached);
        self.renames.push(rename);
    }

    /// Everything about a node until a time is on the disk.
    fn sync(&mut self, node: Node, until: Time) {
        if let Content::File(file) = &mut self.nodes[node] {
            return file.sync(until);
        }
        for mut rename in std::mem::take(&mut self.renames) {
            if rename.time <= until {
                rename.unsynced.retain(|directory| *directory != node);
            }
            if rename.unsynced.is_empty() {
                rename.apply(&mut self.on_disk);
            } else {
                self.renames.push(rename);
            }
        }
    }

    /// How many pages and names a power loss now could take.
    pub(super) fn unsynced(&self) -> usize {
        let pages = self.nodes.iter().map(|node| match node {
            Content::File(file) => file.pages.len(),
            Content::Directory => 0,
        });
        pages.sum::<usize>() + self.renames.len()
    }

    /// Writes what is there after a power loss now.
    pub(super) fn write_image(&self, to: &Path, loss: Loss, random: &mut Random) {
        let mut names = self.on_disk.clone();
        if loss == Loss::Random {
            // What a journal leaves is a beginning of the changes; other file systems promise less.
            let journal = random.below(2) == 0;
            let kept = random.below(self.renames.len() as u64 + 1) as usize;
            for (number, rename) in self.renames.iter().enumerate() {
                let survives = if journal {
                    number < kept
                } else {
                    random.below(2) == 0
                };
                if survives && rename.makes_sense(&names) {
                    rename.apply(&mut names);
                }
            }
        }
        self.write_node(0, to, &names, loss, random);
    }

    fn write_node(&self, node: Node, to: &Path, names: &[Names], loss: Loss, random: &mut Random) {
        match &self.nodes[node] {
            Content::Directory => {
                fs::create_dir_all(to).unwrap();
                for (name, node) in &names[node] {
                    self.write_node(*node, &to.join(name), names, loss, random);
                }
            }
            Content::File(file) => match loss {
                Loss::Unsynced => write_sparse(to, &file.on_disk),
                Loss::Random => write_sparse(to, &file.after_random_loss(random)),
            },
        }
    }

    /// Asserts that the directory is as its processes see it, which proves that nothing was missed in the recording.
    pub(super) fn assert_is(&self, root: &Path) {
        self.assert_node(0, root);
    }

    fn assert_node(&self, node: Node, path: &Path) {
        match &self.nodes[node] {
            Content::File(file) => assert!(
                fs::read(path).unwrap() == file.cached,
                "the recording misses something about {}",
                path.display()
            ),
            Content::Directory => {
                let names = &self.cached[node];
                let entries = fs::read_dir(path).unwrap();
                let mut found: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
                found.sort();
                assert!(
                    found.iter().eq(names.keys().map(|name| name.as_str())),
                    "{found:?} in {}",
                    path.display()
                );
                for (name, node) in names {
                    self.assert_node(*node, &path.join(name));
                }
            }
        }
    }
}

impl Rename {
    fn apply(&self, names: &mut [Names]) {
        if let Some((directory, name)) = &self.from {
            names[*directory].remove(name);
        }
        if let Some((directory, name)) = &self.to {
            names[*directory].insert(name.clone(), self.node);
        }
    }

    /// Whether it can happen where some changes before it did not.
    fn makes_sense(&self, names: &[Names]) -> bool {
        let stands = |(directory, name): &(Node, String)| names[*directory].get(name) == Some(&self.node);
        match (&self.from, &self.to) {
            (None, Some((directory, name))) => !names[*directory].contains_key(name),
            (Some(from), None) => stands(from) && names[self.node].is_empty(),
            (Some(from), Some(_)) => stands(from),
            (None, None) => false,
        }
    }
}

impl File {
    fn page(&self, number: usize) -> Page {
        let start = (number * PAGE).min(self.cached.len());
        let end = (start + PAGE).min(self.cached.len());
        let bytes = &self.cached[start..end];
        if is_zero(bytes) {
            return ZEROS.clone();
        }
        let mut page = [0; PAGE];
        page[..bytes.len()].copy_from_slice(bytes);
        Arc::new(page)
    }

    fn dirty(&mut self, now: Time, from: usize, to: usize) {
        for number in from / PAGE..to.div_ceil(PAGE) {
            let page = self.page(number);
            self.pages.entry(number).or_default().push((now, page));
        }
    }

    fn write(&mut self, now: Time, offset: u64, data: &[u8]) {
        let start = usize::try_from(offset).unwrap();
        let end = start + data.len();
        if end > self.cached.len() {
            set_length(&mut self.cached, end);
            self.lengths.push((now, end));
        }
        self.cached[start..end].copy_from_slice(data);
        self.dirty(now, start, end);
    }

    fn resize(&mut self, now: Time, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap();
        let end = self.cached.len().max(self.on_disk.len());
        if bytes != self.cached.len() {
            let cut = bytes < self.cached.len();
            set_length(&mut self.cached, bytes);
            self.lengths.push((now, bytes));
            if cut {
                self.dirty(now, bytes, end);
            }
        }
    }

    fn sync(&mut self, until: Time) {
        let synced = self.lengths.partition_point(|(time, _)| *time <= until);
        if let Some((_, bytes)) = self.lengths.drain(..synced).next_back() {
            set_length(&mut self.on_disk, bytes);
        }
        for (number, states) in &mut self.pages {
            let synced = states.partition_point(|(time, _)| *time <= until);
            if let Some((_, page)) = states.drain(..synced).next_back() {
                put(&mut self.on_disk, *number, &page);
            }
        }
        self.pages.retain(|_, states| !states.is_empty());
    }

    /// What is cached and clean is read from the disk again.
    fn drop_cache(&mut self) {
        let pages = 0..self.cached.len().div_ceil(PAGE);
        for number in pages.filter(|number| !self.pages.contains_key(number)) {
            let start = (number * PAGE).min(self.on_disk.len());
            let end = (start + PAGE).min(self.on_disk.len());
            let mut page = [0; PAGE];
            page[..end - start].copy_from_slice(&self.on_disk[start..end]);
            put(&mut self.cached, number, &page);
        }
    }

    fn after_random_loss(&self, random: &mut Random) -> Vec<u8> {
        let kept = match random.below(2) {
            0 => self.lengths.len(),
            _ => random.below(self.lengths.len() as u64 + 1) as usize,
        };
        let all: Vec<_> = std::iter::once((0, self.on_disk.len()))
            .chain(self.lengths.iter().copied())
            .collect();
        let bytes = all[kept].1;
        let is_cut = |at: usize, page: usize| all[at].1 < all[at - 1].1 && all[at].1 < (page + 1) * PAGE;
        let mut image = self.on_disk.clone();
        let longest = all.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default();
        set_length(&mut image, longest);
        for (number, states) in &self.pages {
            let cut = (1..=kept).rev().find(|at| is_cut(*at, *number));
            let lost_cut = (kept + 1..all.len()).find(|at| is_cut(*at, *number));
            let from = cut.map_or(0, |at| all[at].0);
            let to = lost_cut.map_or(Time::MAX, |at| all[at].0);
            let states: Vec<_> = states
                .iter()
                .filter(|(time, _)| (from..to).contains(time))
                .collect();
            let chosen = match random.below(4) {
                // What the cut left, which is the oldest state, or what is on the disk.
                0 | 1 => cut.and(states.first()),
                2 => states.last(),
                _ => states.get(random.below(states.len() as u64) as usize),
            };
            if let Some((_, page)) = chosen {
                put(&mut image, *number, page);
            }
        }
        image.truncate(bytes);
        image
    }
}

/// Whether all of a page is zero. In a debug build, comparing is far quicker than looking at each byte.
fn is_zero(page: &[u8]) -> bool {
    page == &ZEROS[..page.len()]
}

/// Cuts, or adds zeros. The same holds for copying them.
fn set_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.truncate(length);
    while bytes.len() < length {
        bytes.extend_from_slice(&ZEROS[..PAGE.min(length - bytes.len())]);
    }
}

/// Puts a page in its place, as far as the file goes.
fn put(bytes: &mut [u8], number: usize, page: &[u8; PAGE]) {
    let start = (number * PAGE).min(bytes.len());
    let end = (start + PAGE).min(bytes.len());
    bytes[start..end].copy_from_slice(&page[..end - start]);
}

/// Writes a file, with holes where it is zero.
fn write_sparse(path: &Path, bytes: &[u8]) {
    let file = fs::File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (number, page) in bytes.chunks(PAGE).enumerate() {
        if !is_zero(page) {
            file.write_all_at(page, (number * PAGE) as u64).unwrap();
        }
    }
}

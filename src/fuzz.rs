//! What the fuzzer of `tests/fuzz` feeds with bytes: everything that reads what a caller, a file or a disk gives. Each
//! target asserts what must hold for any bytes at all. The tests here replay the seeds, and changed ones, without a fuzzer.

use crate::domain::language::Language;
use crate::exchange::{Defaults, plain_page};

/// A target of the fuzzer.
pub type Target = fn(&[u8]);

/// The targets by name, which is that of the fuzzer's binary and of the folder of seeds.
pub const TARGETS: [(&str, Target); 7] = [
    ("page_token", crate::api::fuzz::page_token),
    ("plain_page", page),
    ("record", crate::store::kv::fuzz::record),
    ("language", language),
    ("mask", crate::api::fuzz::mask),
    ("request", crate::api::fuzz::request),
    ("jwt", crate::server::auth::fuzz::jwt),
];

/// Runs the target of a name.
#[expect(clippy::panic, reason = "a fuzzer with another name is a mistake of ours")]
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(data),
        None => panic!("there is no target {name:?}"),
    }
}

/// Pages saved as text. What is read has no control characters, and reads the same again.
fn page(data: &[u8]) {
    let defaults = Defaults {
        language: Language::parse("ar").ok(),
        ..Defaults::default()
    };
    let Ok(document) = plain_page::read(data, &defaults) else {
        return;
    };
    assert!(
        !document.title.trim().is_empty(),
        "a page without a headline is refused"
    );
    let texts = [&document.title, &document.lead, &document.section]
        .into_iter()
        .chain(&document.body);
    for text in texts {
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'),
            "{text:?}"
        );
    }
    assert!(document.notes.len() <= plain_page::MAX_NOTES);
    assert_eq!(
        plain_page::read(data, &defaults).ok().map(|again| again.body),
        Some(document.body)
    );
}

/// Language tags. What is accepted is its own canonical form, and is found by each of its shorter tags.
fn language(data: &[u8]) {
    let Ok(language) = Language::parse(&String::from_utf8_lossy(data)) else {
        return;
    };
    let again = Language::parse(language.as_str());
    assert_eq!(again.ok().as_ref(), Some(&language));
    let range = language.lookup_range();
    assert_eq!(range.first(), Some(&language));
    for shorter in range.iter().skip(1) {
        assert!(language.is_variety_of(shorter), "{language} is no {shorter}");
    }
    let _ = language.direction();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fuzz/seeds")
            .join(target);
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{target} has no seeds");
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    /// What a fuzzer does to its inputs.
    #[derive(Debug, Clone)]
    enum Edit {
        Put(Index, u8),
        Insert(Index, Vec<u8>),
        Remove(Index, usize),
        Repeat(Index, usize),
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let length = 1..9_usize;
        prop_oneof![
            (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Put(at, byte)),
            (any::<Index>(), prop::collection::vec(any::<u8>(), 1..5))
                .prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
            (any::<Index>(), length.clone()).prop_map(|(at, length)| Edit::Remove(at, length)),
            (any::<Index>(), length).prop_map(|(at, length)| Edit::Repeat(at, length)),
        ]
    }

    fn edited(mut data: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
        for edit in edits {
            let (Edit::Put(at, _) | Edit::Insert(at, _) | Edit::Remove(at, _) | Edit::Repeat(at, _)) = edit;
            let from = at.index(data.len() + 1);
            let to = |length: usize| (from + length).min(data.len());
            match edit {
                Edit::Put(_, byte) => drop(data.splice(from..to(1), [*byte])),
                Edit::Insert(_, bytes) => drop(data.splice(from..from, bytes.clone())),
                Edit::Remove(_, length) => drop(data.drain(from..to(*length))),
                Edit::Repeat(_, length) => {
                    let part = data[from..to(*length)].to_vec();
                    data.splice(from..from, part);
                }
            }
        }
        data
    }

    #[test]
    fn every_target_has_its_binary_and_holds_for_its_seeds_and_for_changed_ones() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap();
        for (name, target) in TARGETS {
            assert!(
                manifest.contains(&format!("name = \"{name}\"")),
                "{name} has no binary"
            );
            let seeds = seeds(name);
            seeds.iter().for_each(|seed| target(seed));
            let changed = (select(seeds), prop::collection::vec(edit(), 1..8));
            proptest!(|((seed, edits) in changed)| target(&edited(seed, &edits)));
        }
    }
}

//! Circles of files inside a layer: files that need each other cannot be read, tested or moved one at a time.
//!
//! An edge leads from a file to each file of its layer that it names by `crate::`, `super::` or `self::`. A module and the
//! files below it count as one family: edges between them are no circle.
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};

use super::{code, sources};

type Path = Vec<String>;

/// The module path of a file: `store/kv/mod.rs` is `store::kv`.
fn module(file: &str) -> Path {
    let name = file.trim_end_matches(".rs").trim_end_matches("/mod");
    name.split('/').map(str::to_owned).collect()
}

/// All paths of a `use` tree such as `a::{b, c::{d, e}}`, and how much of the text it takes.
fn expand(tree: &str, before: &[String], paths: &mut Vec<Path>) -> usize {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        let rest = &tree[at..];
        let rest = &rest[rest.len() - rest.trim_start().len()..];
        at = tree.len() - rest.len();
        if rest.starts_with('{') {
            at += 1;
            while !tree[at..].trim_start().starts_with('}') && !tree[at..].trim_start().is_empty() {
                at += expand(&tree[at..], &path, paths);
                let rest = tree[at..].trim_start();
                at = tree.len() - rest.trim_start_matches(',').len();
            }
            let rest = tree[at..].trim_start();
            return tree.len() - rest.strip_prefix('}').unwrap_or(rest).len();
        }
        let name: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        at += name.len();
        if !name.is_empty() {
            path.push(name);
        }
        match tree[at..].strip_prefix("::") {
            Some(_) => at += 2,
            None => {
                paths.push(path);
                // `as x` and `*` end with the branch.
                let end = tree[at..].find([',', '}', ';']).filter(|_| !before.is_empty());
                return at + end.unwrap_or_default();
            }
        }
    }
}

/// The paths of modules and items that code names from the root of the crate.
fn named(of: &Path, code: &str) -> Vec<Path> {
    let mut paths = Vec::new();
    for (at, start) in ["crate::", "super::", "self::"]
        .iter()
        .flat_map(|start| code.match_indices(start))
    {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let mut base = match start {
            "crate::" => Path::new(),
            "super::" => of[..of.len() - 1].to_vec(),
            _ => of.clone(),
        };
        let mut rest = &code[at + start.len()..];
        while let Some(further) = rest.strip_prefix("super::") {
            base.pop();
            rest = further;
        }
        expand(rest, &base, &mut paths);
    }
    paths
}

/// The circles among the files of each layer, as sorted lists of files.
fn circles(sources: &[(String, String)]) -> BTreeSet<Vec<String>> {
    let files: BTreeMap<Path, &str> = sources
        .iter()
        .map(|(file, _)| (module(file), file.as_str()))
        .collect();
    let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, text) in sources {
        let of = module(file);
        for path in named(&of, &code(text)) {
            // The longest part that is a file; the rest are items in it.
            let found = (1..=path.len())
                .rev()
                .find_map(|length| files.get_key_value(&path[..length]));
            let Some((target, name)) = found else { continue };
            let is_family = target.starts_with(&of) || of.starts_with(target);
            if !is_family && target.first() == of.first() {
                needs.entry(file).or_default().insert(name);
            }
        }
    }
    let reached = |from: &str| {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = needs.get(from).into_iter().flatten().copied().collect();
        while let Some(file) = next.pop() {
            if reached.insert(file) {
                next.extend(needs.get(file).into_iter().flatten());
            }
        }
        reached
    };
    let all: BTreeMap<&str, BTreeSet<&str>> = needs.keys().map(|file| (*file, reached(file))).collect();
    let with = |file: &&str| -> Vec<String> {
        let of = &all[file];
        let back = of
            .iter()
            .filter(|other| all.get(**other).is_some_and(|others| others.contains(file)));
        back.map(|other| (*other).to_owned()).collect()
    };
    all.keys().map(with).filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn no_files_of_a_layer_need_each_other() {
    assert_eq!(circles(&sources()), BTreeSet::new());
}

#[test]
fn a_circle_is_found() {
    let source = |file: &str, text: &str| (file.to_owned(), text.to_owned());
    let found = |sources: &[(String, String)]| circles(sources).into_iter().collect::<Vec<_>>();
    let circle = [
        source("domain/a.rs", "use super::{x, b::{self, B as C}};"),
        source("domain/b.rs", "fn f() { crate::domain::c::d::g() }"),
        source("domain/c/d.rs", "use super::super::a::A;"),
        source("domain/x.rs", "use crate::service::a; // super::a"),
        source("service/a.rs", "use crate::domain::x;"),
    ];
    assert_eq!(found(&circle), [["domain/a.rs", "domain/b.rs", "domain/c/d.rs"]]);
    let family = [
        source("store/kv/mod.rs", "mod keys; use self::keys::Key;"),
        source("store/kv/keys.rs", "use super::Store; use crate::store::kv::Kv;"),
        source(
            "store/e.rs",
            "#[cfg(test)]\nmod tests { use crate::store::kv::Kv; }",
        ),
    ];
    assert!(found(&family).is_empty());
}

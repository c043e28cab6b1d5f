//! The architecture as a test: which layer may use which, read from the `use` lines and paths of `src/`, and the shape of
//! a file.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};

mod circles;

/// Files over this many lines are printed.
const LONG: usize = 500;

/// Files that are long for a reason: tables and conversions that belong together.
const KNOWN_LONG: [&str; 2] = ["domain/tests.rs", "store/model/codec.rs"];

/// What the files under a path may use of this crate, and which libraries they must not use. The first that matches holds.
const RULES: [(&str, &[&str], &[&str]); 13] = [
    ("domain", &["domain"], &["tokio", "tonic", "prost", "sled", "pb"]),
    (
        "exchange",
        &["domain", "exchange"],
        &["tokio", "tonic", "prost", "sled", "pb"],
    ),
    ("clock.rs", &["domain"], &["tokio", "tonic", "prost", "sled"]),
    (
        "store/kv/sled",
        &["store", "domain", "clock"],
        &["tonic", "prost"],
    ),
    ("store/kv", &["store", "domain", "clock"], &["tonic", "sled"]),
    ("store/model", &["store", "domain"], &["tokio", "tonic", "sled"]),
    (
        "store",
        &["store", "domain", "clock"],
        &["tonic", "prost", "sled"],
    ),
    (
        "service",
        &["service", "domain", "store", "clock"],
        &["tonic", "prost", "sled"],
    ),
    (
        "api",
        &["api", "service", "domain", "store", "clock", "pb", "exchange"],
        &["sled"],
    ),
    (
        "server",
        &[
            "server",
            "api",
            "service",
            "domain",
            "store",
            "clock",
            "pb",
            "telemetry",
        ],
        &["sled"],
    ),
    ("pb.rs", &[], &["sled"]),
    (
        "cli",
        &[
            "cli",
            "server",
            "exchange",
            "domain",
            "pb",
            "clock",
            "store",
            "api",
            "telemetry",
        ],
        &["sled"],
    ),
    (
        "",
        &[
            "cli",
            "server",
            "telemetry",
            "pb",
            "api",
            "clock",
            "domain",
            "service",
            "store",
            "exchange",
        ],
        &["sled"],
    ),
];

fn source_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The files of `src/` by their path in it, with their text.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&src, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(&src)
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/");
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The code without comments and without what follows the file's unit tests.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    lines
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The modules of this crate that a file names: `crate::x`, also inside braces, and `super::` that leaves its layer.
fn layers_used(file: &str, code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            let group = group.split(';').next().unwrap_or_default();
            let mut depth = 0;
            let mut name = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => used.push(std::mem::take(&mut name)),
                    c if depth == 0 && !c.is_whitespace() => name.push(c),
                    _ => {}
                }
            }
            used.push(name);
        } else {
            used.push(
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .next()
                    .unwrap_or_default()
                    .into(),
            );
        }
    }
    // How many `super` lead out of the top module depends on how deep the file is.
    let depth = file
        .trim_end_matches("/mod.rs")
        .trim_end_matches(".rs")
        .split('/')
        .count();
    let out = "super::".repeat(depth);
    used.extend(code.split(&out).skip(1).map(|rest| {
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next()
            .unwrap_or_default()
            .into()
    }));
    used.into_iter()
        .map(|name: String| name.split("::").next().unwrap_or_default().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether code names a library: in a `use` line or as a path.
fn names_library(code: &str, library: &str) -> bool {
    let path = format!("{library}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        // `crate::store::kv::sled::` is ours; `::sled::` at the start of a path is the library.
        match before {
            None => true,
            Some(':') => !code[..at]
                .trim_end_matches(':')
                .ends_with(|c: char| c.is_alphanumeric() || c == '_'),
            Some(c) => !c.is_alphanumeric() && c != '_',
        }
    }) || code.lines().any(|line| line.trim() == format!("use {library};"))
}

fn broken_rules(file: &str, text: &str) -> Vec<String> {
    let (_, allowed, forbidden) = RULES
        .into_iter()
        .find(|(path, ..)| {
            path.is_empty()
                || file == *path
                || file.starts_with(&format!("{path}/"))
                || file == format!("{path}.rs")
        })
        .unwrap();
    let code = code(text);
    let mut broken = Vec::new();
    for layer in layers_used(file, &code) {
        let is_layer = RULES
            .iter()
            .any(|(path, ..)| path.split(['/', '.']).next() == Some(&layer));
        if is_layer && !allowed.contains(&layer.as_str()) {
            broken.push(format!("{file} uses {layer}"));
        }
    }
    let is_module =
        |library: &str| library == "sled" && file.starts_with("store/kv/") && !code.contains("use ::sled");
    for library in forbidden {
        if !is_module(library) && names_library(&code, library) {
            broken.push(format!("{file} uses {library}"));
        }
    }
    broken
}

#[test]
fn layers_use_only_what_is_below_them() {
    let broken: Vec<_> = sources()
        .iter()
        .flat_map(|(file, text)| broken_rules(file, text))
        .collect();
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn a_broken_layer_is_seen() {
    for (file, text, expected) in [
        (
            "domain/article.rs",
            "use crate::store::Store;",
            "domain/article.rs uses store",
        ),
        (
            "domain/x/y.rs",
            "use super::super::super::pb;",
            "domain/x/y.rs uses pb",
        ),
        (
            "domain/article.rs",
            "fn f() { tokio::spawn(x); }",
            "domain/article.rs uses tokio",
        ),
        (
            "domain/date.rs",
            "use prost::Message;",
            "domain/date.rs uses prost",
        ),
        (
            "service/mod.rs",
            "use crate::{clock::Clock, api::{a, b}};",
            "service/mod.rs uses api",
        ),
        (
            "service/x.rs",
            "fn f(s: tonic::Status) {}",
            "service/x.rs uses tonic",
        ),
        (
            "store/mod.rs",
            "use crate::service::Call;",
            "store/mod.rs uses service",
        ),
        (
            "store/kv/keys.rs",
            "use ::sled::Db;",
            "store/kv/keys.rs uses sled",
        ),
        ("store/error.rs", "use sled;", "store/error.rs uses sled"),
        ("api/mod.rs", "use crate::server::run;", "api/mod.rs uses server"),
        (
            "exchange/x.rs",
            "use crate::service::Call;",
            "exchange/x.rs uses service",
        ),
    ] {
        assert_eq!(broken_rules(file, text), [expected], "{text}");
    }
    for (file, text) in [
        ("domain/article.rs", "// use tokio::spawn\nuse super::etag::Etag;"),
        (
            "domain/article.rs",
            "#[cfg(test)]\nmod tests { use tokio::spawn; }",
        ),
        ("store/kv/mod.rs", "use crate::store::kv::sled::SledEngine;"),
        ("store/kv/sled/open.rs", "use ::sled::Db;"),
        ("store/model/codec.rs", "use prost::Message;"),
        ("server/location.rs", "use crate::store::kv::sled::SledEngine;"),
    ] {
        assert_eq!(broken_rules(file, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (file, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! "), "{file} begins with {first:?}");
        let length = text.lines().count();
        if length > LONG && !KNOWN_LONG.contains(&file.as_str()) {
            eprintln!("{file} has {length} lines: split it, or name it in KNOWN_LONG");
        }
    }
}

#[test]
fn the_seam_knows_no_implementation() {
    let implementations = ["kv::", "sled::", "reference::"];
    for (file, text) in sources() {
        let is_seam = file.starts_with("store/") && !file.starts_with("store/kv/");
        if !is_seam || file.starts_with("store/reference") {
            continue;
        }
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let named = implementations.iter().find(|name| line.contains(**name));
            assert_eq!(named, None, "{file}: {line}");
        }
    }
}

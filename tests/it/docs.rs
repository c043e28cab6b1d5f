//! The documents: every relative link leads somewhere, and the commands of the README run.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files of the repository's top, of `docs/` and of the examples.
fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "examples/apertium-worker"].map(|folder| root().join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.sort();
    files
}

/// The targets of the inline links of a Markdown text, those in code blocks left out.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose
        .flat_map(|part| part.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .collect()
}

/// The anchors of a Markdown text's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text
        .split("```")
        .step_by(2)
        .flat_map(str::lines)
        .filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The links of a document that lead nowhere.
fn broken(document: &Path, text: &str) -> Vec<String> {
    let leads_nowhere = |link: &&str| {
        if link.contains("://") || link.starts_with("mailto:") {
            return false;
        }
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = if path.is_empty() {
            document.to_owned()
        } else {
            document.parent().unwrap().join(path)
        };
        !target.exists()
            || !(anchor.is_empty()
                || anchors(&fs::read_to_string(target).unwrap()).contains(&anchor.to_owned()))
    };
    let links = links(text).into_iter().filter(leads_nowhere);
    links
        .map(|link| format!("{}: {link}", document.display()))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    let broken: Vec<_> = documents
        .iter()
        .flat_map(|document| broken(document, &fs::read_to_string(document).unwrap()))
        .collect();
    assert_eq!(broken, Vec::<String>::new());
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let linked = links(&readme);
    for page in documents
        .iter()
        .filter(|path| path.starts_with(root().join("docs")))
    {
        let name = page.strip_prefix(root()).unwrap().to_str().unwrap();
        assert!(linked.contains(&name), "the README leads to {name}");
    }
}

#[test]
fn a_broken_link_is_found() {
    let document = root().join("README.md");
    let text = "# A b, c!\n[a](no/such.md) [b](#a-b-c) [c](docs/security.md#nowhere) [d](docs/security.md#jwt)\n```\n[e](x)\n```";
    assert_eq!(links(text).len(), 4);
    assert_eq!(anchors(text), ["a-b-c"]);
    let found: Vec<_> = broken(&document, text)
        .into_iter()
        .map(|line| line.rsplit(": ").next().unwrap().to_owned())
        .collect();
    // `#a-b-c` is looked for in the README itself.
    assert_eq!(found, ["no/such.md", "#a-b-c", "docs/security.md#nowhere"]);
}

/// The code blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

/// All blocks of shell run, in their order, against one server. Those that cannot run are blocks of `text`.
#[test]
fn the_commands_of_the_readme_run() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = blocks(&readme, "sh");
    assert!(!blocks.is_empty(), "the README has commands");
    let (server, _directory) = cli::server();
    let script = format!("set -euo pipefail\n{}", blocks.join("\n"));
    let shown = cli::shell(&server, &script).ok();
    for expected in [
        "created market revision 1",
        "en/t1 stale: s2 since revision 2",
        "[-64-]{+66+}",
        "revised market revision 3",
        "en/t1 current; made from revision 1; active, reviewed, human",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in {shown}");
    }
}

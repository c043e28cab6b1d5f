//! Reading in a language, lists by translation and coverage from the command line.

use super::{PAGE, Server, TRANSLATION, server};

/// The page with an English translation, and an article without one.
fn filled() -> (Server, tempfile::TempDir) {
    let (server, directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    server
        .run(&["import", "examples/pages/night-ferry-en.txt", "--id", "ferry"])
        .ok();
    let attach = [
        "attach",
        "market",
        "--language",
        "en",
        "--revision",
        "1",
        "--agent",
        "mt",
        "--file",
    ];
    server.run(&[&attach[..], &[TRANSLATION]].concat()).ok();
    (server, directory)
}

#[test]
fn an_article_is_read_in_the_first_language_that_there_is() {
    let (server, _directory) = filled();
    let done = server.run(&["get", "market", "--in", "fr,en"]);
    assert!(
        done.stdout.starts_with("The craftsmen's market returns"),
        "{}",
        done.stdout
    );
    assert_eq!(done.code, Some(0));
    assert!(
        done.stderr.contains("there is no such text in fr; served is en"),
        "{}",
        done.stderr
    );
    let read = server
        .run(&[
            "get",
            "market",
            "--in",
            "en",
            "--exclude-machine",
            "--output",
            "json",
        ])
        .json();
    assert_eq!(read[0]["served"]["servedLanguage"], "ar");
    assert_eq!(read[0]["served"]["isFallback"], true);
    let read = server
        .run(&[
            "get",
            "market",
            "--in",
            "en",
            "--max-freshness",
            "current",
            "--output",
            "json",
        ])
        .json();
    assert_eq!(read[0]["served"]["translationId"], "t1");
    assert_eq!(read[0]["translation"]["language"], "en");
    let without = server.run(&["get", "market", "--min-state", "final"]);
    assert_eq!(without.code, Some(2), "{}", without.stderr);
}

#[test]
fn lists_and_coverage_say_what_is_missing() {
    let (server, _directory) = filled();
    let ids = |args: &[&str]| {
        let listed = server.run(&[&["list", "--output", "json"], args].concat()).json();
        listed
            .iter()
            .map(|article| article["articleId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--missing", "fr"]), ["market", "ferry"]);
    assert_eq!(
        ids(&["--missing", "en"]),
        Vec::<String>::new(),
        "the ferry is English itself"
    );
    assert_eq!(
        ids(&["--current", "en", "--origin", "machine-unreviewed"]),
        ["market"]
    );
    assert_eq!(ids(&["--todo", "ar"]), ["ferry"]);
    let table = server
        .run(&["coverage", "--by", "month", "--languages", "en,fr"])
        .ok();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0][..4], ["FROM", "LANG", "ARTICLES", "COVERED"]);
    assert_eq!(rows[1], ["2024-06", "fr", "1", "0", "%", "-", "1", "-", "-", "-"]);
    assert_eq!(rows[2][..6], ["2024-09", "en", "1", "100", "%", "1"]);
    assert_eq!(rows[2][10..], ["1", "translated", "1", "machine", "unreviewed"]);
    let counted = server
        .run(&["coverage", "--languages", "fr", "--output", "json"])
        .json();
    assert_eq!(counted.len(), 2);
    assert_eq!(counted[0]["missing"], "1");
    let wrong = server.run(&["coverage", "--zone", "Mars"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("civil_range.zone"), "{}", wrong.stderr);
}

//! The workflow from the command line: a page is translated, reviewed, corrected, acknowledged, selected and rejected, and
//! every step is in the provenance afterwards.
#![expect(clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{PAGE, Server, TRANSLATION, server};

const REVIEWER: &str = "رنا حداد";
const MACHINE: [&str; 4] = ["--agent", "mt", "--engine", "opus"];
const PERSON: [&str; 4] = ["--agent", "human", "--person", REVIEWER];

impl Server {
    /// Runs a command on the English translations of the page.
    fn step(&self, command: &str, options: &[&[&str]]) -> super::Done {
        let fixed = [command, "market", "--language", "en"];
        self.run(&[&fixed[..], &options.concat()].concat())
    }

    fn summary(&self, id: &str) -> Value {
        let name = format!("en/{id}");
        let read = self.run(&["get", "market", "--translation", &name, "--output", "json"]);
        read.json()[0]["summary"].clone()
    }

    fn etag(&self, id: &str) -> String {
        self.summary(id)["etag"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_page_goes_through_all_steps_and_they_can_be_told() {
    let (server, directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    let attach = ["--revision", "1", "--file", TRANSLATION];
    server.step("attach", &[&attach, &MACHINE]).ok();

    let first = server.etag("t1");
    let reviewed = server.step("review", &[&["--etag", &first], &PERSON]).ok();
    assert_eq!(
        reviewed,
        "reviewed market: en/t1 current; made from revision 1; active, reviewed, machine reviewed\n"
    );
    let own = server.step(
        "review",
        &[&["--etag", &server.etag("t1"), "--state", "translated"], &MACHINE],
    );
    assert_eq!(own.code, Some(1));
    assert!(
        own.stderr
            .contains("reason PERSON_REQUIRED (FAILED_PRECONDITION)"),
        "{}",
        own.stderr
    );
    let unseen = server.step("review", &[&["--etag", &first, "--state", "final"], &PERSON]);
    assert_eq!(unseen.code, Some(1));
    assert!(
        unseen
            .stderr
            .contains(&format!("has the etag \"{}\"", server.etag("t1"))),
        "{}",
        unseen.stderr
    );

    let corrected = fs::read_to_string(PAGE).unwrap().replace("64 ورشة", "66 ورشة");
    server.feed(&["import", "-", "--id", "market"], &corrected).ok();
    let stale = server.summary("t1");
    assert_eq!(stale["freshness"], "FRESHNESS_STALE");
    assert_eq!(stale["staleSegmentIds"], serde_json::json!(["s2"]));
    let again = ["--revision", "2", "--segment", "s2=66 of 70 workshops are back."];
    let diverted = server.step("attach", &[&again, &MACHINE]).ok();
    assert!(
        diverted.starts_with("diverted for market revision 2: en/t2 current"),
        "{diverted}"
    );

    let etag = server.etag("t1");
    let still = [
        "--revision",
        "2",
        "--segment",
        "s2",
        "--etag",
        &etag,
        "--reason",
        "العدد تقريبي",
    ];
    let held = server
        .step("ack", &[&still, &PERSON, &["--output", "json"]])
        .json();
    assert_eq!(held[0]["translation"]["freshness"], "FRESHNESS_CURRENT");
    assert_eq!(held[0]["translation"]["state"], "TRANSLATION_STATE_REVIEWED");

    let slot = server.summary("t2")["slotEtag"].as_str().unwrap().to_owned();
    let choose = ["--translation-id", "t2", "--slot-etag", &slot];
    let selected = server
        .step("select", &[&choose, &["--reason", "newer"], &PERSON])
        .ok();
    assert!(
        selected.starts_with("selected for market: en/t2 current"),
        "{selected}"
    );
    let lost = server.step("select", &[&["--translation-id", "t1", "--slot-etag", &slot]]);
    assert!(
        lost.stderr.contains("reason ETAG_MISMATCH (ABORTED)"),
        "{}",
        lost.stderr
    );
    server
        .step("select", &[&["--translation-id", "t1", "--yes"]])
        .ok();
    let turned_down = [
        "--translation-id",
        "t2",
        "--reason",
        "two words are missing",
        "--yes",
    ];
    let rejected = server.step("reject", &[&turned_down]).ok();
    assert!(rejected.contains("; rejected, translated"), "{rejected}");
    let again = server.step("select", &[&["--translation-id", "t2", "--yes"]]);
    assert_eq!(again.code, Some(1));
    assert!(
        again
            .stderr
            .contains("translation \"t2\" of article \"market\" into en: it is rejected for good"),
        "{}",
        again.stderr
    );

    let told = server.step("provenance", &[]).ok();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 8, "{told}");
    assert!(lines[0].starts_with("time"));
    for (line, words) in lines[1..].iter().zip([
        "attached      t1",
        "reviewed      t1",
        "attached      t2",
        "acknowledged  t1",
        "selected      t2 for t1",
        "selected      t1 for t2",
        "rejected      t2",
    ]) {
        assert!(line.contains(words), "{line}");
    }
    // A name stays in its cell, whatever the direction of its letters.
    assert!(
        lines[2].contains("\u{2066}human, رنا حداد\u{2069}"),
        "{}",
        lines[2]
    );
    assert!(lines[4].contains("\u{2067}العدد تقريبي\u{2069}"), "{}", lines[4]);
    assert!(lines[1].contains("title lead s1 s2 s3 s4 s5 s6"), "{}", lines[1]);
    let json = server.step("provenance", &[&["--output", "json"]]).ok();
    assert!(!json.contains('\u{2067}') && json.contains(REVIEWER));
    let records = super::objects(&json);
    assert_eq!(records.len(), 7);
    assert_eq!(records[3]["step"], "PROVENANCE_STEP_ACKNOWLEDGED");
    assert_eq!(records[3]["segmentIds"], serde_json::json!(["s2"]));
    assert_eq!(records[4]["replacedTranslationId"], "t1");
    let of_second = server.step("provenance", &[&["--translation-id", "t2", "--output", "json"]]);
    assert_eq!(of_second.json().len(), 4);

    // It is all there after a restart.
    assert_eq!(server.stop().0, Some(0));
    let server = Server::start(&directory.path().join("store"));
    assert_eq!(server.step("provenance", &[&["--output", "json"]]).ok(), json);
}

#[test]
fn a_step_without_what_it_needs_is_a_usage_error() {
    let (server, _directory) = server();
    for usage in [
        &["review", "a1", "--language", "en", "--agent", "human"][..],
        &["review", "a1", "--language", "en", "--etag", "1-0"],
        &[
            "review",
            "a1",
            "--language",
            "en",
            "--etag",
            "1-0",
            "--agent",
            "human",
            "--state",
            "perfect",
        ],
        &[
            "ack",
            "a1",
            "--language",
            "en",
            "--etag",
            "1-0",
            "--agent",
            "human",
            "--revision",
            "2",
        ],
        &["select", "a1", "--language", "en", "--yes"],
        &["select", "a1", "--language", "en", "--translation-id", "t1"],
        &[
            "review",
            "a1",
            "--language",
            "en",
            "--agent",
            "human",
            "--etag",
            "1-0",
            "--yes",
        ],
        &[
            "select",
            "a1",
            "--language",
            "en",
            "--translation-id",
            "t1",
            "--yes",
            "--person",
            "Omar",
        ],
        &[
            "reject",
            "a1",
            "--language",
            "en",
            "--translation-id",
            "t1",
            "--yes",
        ],
        &["provenance", "a1"],
        &["provenance", "a1", "--language", "en", "--zone", "Mars/Olympus"],
    ] {
        let done = server.run(usage);
        assert_eq!(done.code, Some(2), "{usage:?} {}", done.stderr);
        assert!(done.stderr.starts_with("error: "), "{usage:?} {}", done.stderr);
    }
    let missing = server.run(&["provenance", "a1", "--language", "en"]);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("reason ARTICLE_NOT_FOUND"),
        "{}",
        missing.stderr
    );
}

#[test]
fn a_server_for_one_person_lets_her_review_herself() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let attach = ["--revision", "1", "--file", TRANSLATION];
    let server = Server::start(&path);
    server.run(&["import", PAGE, "--id", "market"]).ok();
    server.step("attach", &[&attach, &PERSON]).ok();
    let review = |server: &Server| server.step("review", &[&["--etag", &server.etag("t1")], &PERSON]);
    let refused = review(&server);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("needs another person")
            && refused
                .stderr
                .contains("reason ILLEGAL_TRANSITION (FAILED_PRECONDITION)"),
        "{}",
        refused.stderr
    );
    server.stop();
    let server = Server::start_with(&path, &["--allow-self-review"]);
    assert!(review(&server).ok().contains("active, reviewed, human"));
    // She may send a text as final, too.
    let own = [
        "--revision",
        "1",
        "--segment",
        "s1=Another text.",
        "--state",
        "final",
    ];
    server.step("attach", &[&own, &PERSON]).ok();
    let read = server.run(&["get", "market", "--translation", "en", "--output", "json"]);
    assert_eq!(read.json()[0]["body"][0]["state"], "TRANSLATION_STATE_FINAL");
}

/// Runs a command on the English translations at a terminal where somebody types; answers what the terminal showed.
fn at_terminal(server: &Server, command: &str, typed: &str) -> String {
    let line = format!("{} {command} --language en", super::PROGRAM);
    // The terminal gives line breaks a carriage return.
    super::output(
        super::on_path("script", server.address()).args([
            "--quiet",
            "--return",
            "--command",
            &line,
            "/dev/null",
        ]),
        typed,
    )
    .stdout
    .replace('\r', "")
}

#[test]
fn at_a_terminal_a_step_shows_the_text_and_asks() {
    let (server, _directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    let attach = ["--revision", "1", "--file", TRANSLATION];
    server.step("attach", &[&attach, &MACHINE]).ok();
    let state = || server.summary("t1")["state"].as_str().unwrap().to_owned();

    let review = "review market --agent human --person Rana --segment s2";
    let shown = at_terminal(&server, review, "n\n");
    assert!(
        shown.contains("bring en/t1 of market (s2) to reviewed? [y/N] "),
        "{shown}"
    );
    assert!(shown.contains("error: nothing was done"), "{shown}");
    let translation = fs::read_to_string(TRANSLATION).unwrap();
    let source = fs::read_to_string(PAGE).unwrap();
    let first_words = |text: &str, of: &str| {
        let line = text.lines().find(|line| line.contains(of)).unwrap();
        line.trim().chars().take(20).collect::<String>()
    };
    // The paragraph in both languages, and no other.
    assert!(shown.contains(&first_words(&source, "64 ورشة")), "{shown}");
    assert!(shown.contains(&first_words(&translation, "64")), "{shown}");
    assert!(
        !shown.contains(&translation.lines().next().unwrap()[..20]),
        "{shown}"
    );
    assert_eq!(state(), "TRANSLATION_STATE_TRANSLATED");
    // The end of the input is no yes.
    at_terminal(&server, review, "");
    assert_eq!(state(), "TRANSLATION_STATE_TRANSLATED");

    let shown = at_terminal(&server, &review.replace(" --segment s2", ""), "y\n");
    assert!(shown.contains("reviewed market: en/t1 current"), "{shown}");
    assert_eq!(state(), "TRANSLATION_STATE_REVIEWED");

    let shown = at_terminal(
        &server,
        "reject market --translation-id t1 --reason libel",
        "yes\n",
    );
    assert!(
        shown.contains("reject en/t1 of market for good? [y/N] "),
        "{shown}"
    );
    assert_eq!(server.summary("t1")["disposition"], "DISPOSITION_REJECTED");
}

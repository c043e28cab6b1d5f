//! `watch`: following, reconnecting after a restart of the server, and ending.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{PAGE, Server, TRANSLATION, program, server};

/// A watch that runs.
struct Watch {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Watch {
    fn start(server: &Server, options: &[&str]) -> Self {
        let mut child = program(server.address())
            .arg("watch")
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdout: BufReader::new(child.stdout.take().unwrap()).lines(),
            stderr: BufReader::new(child.stderr.take().unwrap()).lines(),
            child,
        }
    }

    fn line(&mut self) -> String {
        self.stdout.next().expect("the watch goes on").unwrap()
    }

    fn said(&mut self) -> String {
        self.stderr.next().expect("the watch goes on").unwrap()
    }

    /// The next line that holds a change.
    fn change(&mut self) -> Value {
        loop {
            let message: Value = serde_json::from_str(&self.line()).unwrap();
            if message.get("change").is_some() {
                return message;
            }
        }
    }

    /// Ends it as a person does; answers its exit code.
    fn interrupt(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn attach(server: &Server, language: &str) {
    let options = [
        "--language",
        language,
        "--revision",
        "1",
        "--agent",
        "human",
        "--file",
        TRANSLATION,
    ];
    server.run(&[&["attach", "market"], &options[..]].concat()).ok();
}

#[test]
fn it_follows_over_a_restart_and_says_how_to_go_on() {
    let (server, directory) = server();
    let mut watch = Watch::start(&server, &["--output", "json"]);
    let first: Value = serde_json::from_str(&watch.line()).unwrap();
    assert!(
        first.get("checkpoint").is_some(),
        "there is a token from the beginning on: {first}"
    );
    server.run(&["import", PAGE, "--id", "market"]).ok();
    let created = watch.change();
    assert_eq!(created["change"]["kind"], "CHANGE_KIND_ARTICLE_CREATED");
    assert_eq!(created["change"]["articleId"], "market");
    assert_eq!(created["change"]["seq"], "1");

    let address = server.address().to_owned();
    assert_eq!(server.stop().0, Some(0));
    let broke_off = watch.said();
    assert!(
        broke_off.starts_with("the stream broke off: the store is not available now: the server is stopping"),
        "{broke_off}"
    );
    let server = Server::start_at(&address, &directory.path().join("store"), &[]);
    attach(&server, "en");
    let kinds = ["ATTACHED", "SELECTED"].map(|what| format!("CHANGE_KIND_TRANSLATION_{what}"));
    let told = [watch.change(), watch.change()];
    assert_eq!(
        told.each_ref()
            .map(|told| told["change"]["kind"].as_str().unwrap()),
        kinds
    );
    assert_eq!(watch.said(), "following again");
    assert_eq!(watch.interrupt(), Some(0));
    let token = told[1]["resumeToken"].as_str().unwrap();
    assert_eq!(watch.said(), format!("go on with --resume {token}"));

    attach(&server, "fr");
    let mut resumed = Watch::start(
        &server,
        &[
            "--resume",
            told[0]["resumeToken"].as_str().unwrap(),
            "--output",
            "json",
        ],
    );
    assert_eq!(resumed.change(), told[1]);
    assert_eq!(resumed.change()["change"]["language"], "fr");
}

#[test]
fn people_get_a_line_a_change() {
    let (server, _directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    attach(&server, "en");
    attach(&server, "fr");
    let mut all = Watch::start(&server, &["--from-start"]);
    let lines: Vec<_> = (0..5).map(|_| all.line()).collect();
    let parts = |line: &str| {
        line.split_whitespace()
            .skip(2)
            .take(4)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        lines.iter().map(|line| parts(line)).collect::<Vec<_>>(),
        [
            "1 article created market",
            "2 translation attached market",
            "2 translation selected market",
            "3 translation attached market",
            "3 translation selected market",
        ]
    );
    assert!(lines[1].contains("market  en/t1  rev 1  "), "{}", lines[1]);
    assert_eq!(all.interrupt(), Some(0));

    let mut french = Watch::start(
        &server,
        &["--from-start", "--into", "fr", "--kind", "translation-selected"],
    );
    assert!(french.line().contains("fr/t1"));

    let mut snapshot = Watch::start(&server, &["--snapshot"]);
    let item = snapshot.line();
    assert!(
        item.starts_with("market  rev 1  ") && item.ends_with("en:current fr:current"),
        "{item}"
    );
    assert_eq!(snapshot.line(), "-- 1 articles; what follows changed since");
    attach(&server, "de");
    assert!(snapshot.line().contains("translation attached"));
}

#[test]
fn it_ends_when_nobody_reads_and_when_it_cannot_go_on() {
    let (server, _directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    let mut child = program(server.address())
        .args(["watch", "--from-start", "--checkpoint", "1s", "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(
        (ended.status.code(), ended.stderr.as_slice()),
        (Some(0), &b""[..])
    );

    let refused = server.run(&["watch", "--resume", "x"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("reason BAD_TOKEN"), "{}", refused.stderr);
    let wrong = server.run(&["watch", "--checkpoint", "1h"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("checkpoint_interval"), "{}", wrong.stderr);
    for usage in [
        &["watch", "--kind", "article-vanished"][..],
        &["watch", "--from-start", "--snapshot"],
        &["watch", "--resume", "x", "--snapshot"],
        &["watch", "--zone", "Nowhere/Now"],
    ] {
        assert_eq!(server.run(usage).code, Some(2), "{usage:?}");
    }
    let nowhere = super::run("127.0.0.1:1", &["watch"], "");
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.stderr.contains("no server answers"), "{}", nowhere.stderr);
}

#[test]
fn a_token_that_the_server_refuses_is_not_advised() {
    let (server, directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    let path = directory.path().join("store");
    let store = format!("sled:{}", path.display());
    let backup = directory.path().join("all.backup");
    server.run(&["backup", backup.to_str().unwrap()]).ok();
    let mut watch = Watch::start(&server, &["--from-start", "--output", "json"]);
    let message: Value = serde_json::from_str(&watch.line()).unwrap();
    let token = message["resumeToken"].as_str().unwrap();
    let address = server.address().to_owned();
    assert_eq!(server.stop().0, Some(0));
    let replaced = [
        "restore",
        backup.to_str().unwrap(),
        "--store",
        &store,
        "--replace",
        "--min-free-bytes",
        "0",
    ];
    super::run("", &replaced, "").ok();

    // Both the watch that goes on by itself and the one that is told to.
    let server = Server::start_at(&address, &path, &[]);
    let told = server.run(&["watch", "--resume", token]);
    assert_eq!(watch.child.wait().unwrap().code(), Some(1));
    let followed: Vec<_> = watch.stderr.by_ref().map(Result::unwrap).collect();
    for said in [told.stderr, followed.join("\n")] {
        assert!(said.contains("reason TOKEN_OF_ANOTHER_STORE"), "{said}");
        assert!(said.contains("begin again with --snapshot"), "{said}");
        assert!(!said.contains("--resume"), "{said}");
    }
    assert_eq!(told.code, Some(1));
}

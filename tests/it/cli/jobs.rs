//! Jobs, policies and workers from the command line: real programs translate, and are killed, lost and given back.
#![expect(clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Server, program, server};

mod worker;

/// Nothing here takes as long.
const LIMIT: Duration = Duration::from_secs(60);
/// Shorter leases than in life, so that the heartbeats of one can be seen.
const SHORT_LEASES: [&str; 2] = ["--shortest-lease-ms", "100"];
const PAGE: &str =
    "The harbour opens\n\nThe harbour opened on Tuesday.\n\nThe ships came back in the evening.\n";

impl Server {
    fn import(&self, id: &str) {
        self.feed(&["import", "-", "--id", id, "--language", "en"], PAGE)
            .ok();
    }

    /// Imports an article and asks for its translation into Spanish.
    fn order(&self, id: &str) {
        self.import(id);
        self.run(&["jobs", "request", id, "--into", "es", "--kind", "mt"])
            .ok();
    }

    fn job(&self, id: &str) -> Value {
        let shown = self.run(&["jobs", "show", id, "--output", "json"]);
        shown.json().remove(0)
    }

    /// Runs a worker until there is nothing left.
    fn work(&self, command: &str, options: &[&str]) -> super::Done {
        let fixed = ["work", "--into", "es", "--once", "--command", command];
        self.run(&[&fixed[..], options].concat())
    }

    fn spanish(&self, id: &str) -> Vec<String> {
        let read = self.run(&["get", id, "--translation", "es", "--output", "json"]);
        let translation = read.json().remove(0);
        let body = translation["body"].as_array().unwrap().iter();
        std::iter::once(&translation["title"])
            .chain(body)
            .map(|segment| segment["text"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A worker that runs until it is ended.
struct Worker {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Worker {
    fn start(server: &Server, command: &str, options: &[&str]) -> Self {
        let mut child = program(server.address())
            .args(["work", "--into", "es", "--command", command])
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
        self.stdout.next().expect("the worker goes on").unwrap()
    }

    fn said(&mut self) -> String {
        self.stderr.next().expect("the worker goes on").unwrap()
    }

    fn end(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What `look` sees as soon as it sees something.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < LIMIT, "it does not happen");
        std::thread::yield_now();
    }
}

/// The number in a file once it is written.
fn number(path: &Path) -> i32 {
    until(|| fs::read_to_string(path).ok()?.strip_suffix('\n')?.parse().ok())
}

/// A program that says in `started` which process it is, and translates when there is a file `go`.
fn waiting(directory: &TempDir) -> String {
    let directory = directory.path().display();
    format!("echo $$ > {directory}/started; until [ -e {directory}/go ]; do sleep 0.02; done; tr a-z A-Z")
}

fn is_running(id: i32) -> bool {
    // A killed process is there until its parent has looked at it.
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn translations_are_asked_for_looked_at_given_up_and_asked_for_again() {
    let (server, _directory) = server();
    server.import("harbour");
    server.import("quay");
    let request = |options: &[&str]| server.run(&[&["jobs", "request"], options].concat());
    let asked = request(&["harbour", "--into", "es,fr", "--kind", "mt", "--priority", "2"]).ok();
    assert_eq!(
        asked,
        "INTO  KIND  OPENED  ALREADY OPEN  NOTHING WANTED  WITHHELD  NOT FOUND  FULL\n\
         es    mt    1       0             0               0         0          0\n\
         fr    mt    1       0             0               0         0          0\n"
    );
    let times = [
        "--deadline",
        "2099-01-02T03:04:05Z",
        "--not-before",
        "2098-01-02T03:04:05Z",
    ];
    let by_query = [
        &["--todo", "es", "--into", "es", "--kind", "mt,human"],
        &times[..],
        &["--output", "json"],
    ];
    let mut answers = request(&by_query.concat()).json();
    answers.sort_by_key(|answer| answer["jobId"].as_str().unwrap().to_owned());
    let told: Vec<_> = answers
        .iter()
        .map(|answer| {
            let outcome = answer["outcome"].as_str().unwrap();
            format!("{} {}", answer["jobId"].as_str().unwrap(), outcome)
        })
        .collect();
    assert_eq!(
        told,
        [
            "harbour/es/human/1 REQUEST_OUTCOME_OPENED",
            "harbour/es/mt/1 REQUEST_OUTCOME_ALREADY_OPEN",
            "quay/es/human/1 REQUEST_OUTCOME_OPENED",
            "quay/es/mt/1 REQUEST_OUTCOME_OPENED",
        ]
    );
    let missing = request(&["quay", "nowhere", "--into", "es", "--kind", "mt"]);
    assert_eq!(missing.code, Some(1));
    assert_eq!(missing.stderr, "there is no article nowhere\n");
    assert!(
        missing.stdout.contains("es    mt    0       1"),
        "{}",
        missing.stdout
    );

    let listed = server.run(&["jobs", "list"]).ok();
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 6, "{listed}");
    assert!(lines[0].starts_with("JOB                 STATE    REV  SEGMENTS  PRIORITY  TRIES  NOTE"));
    assert_eq!(
        lines[1],
        "harbour/es/mt/1     pending  1    3         2         0/5    due 2099-01-02 03:04:05"
    );
    assert!(
        lines[5].ends_with("0/5    not before 2098-01-02 03:04:05; due 2099-01-02 03:04:05"),
        "{listed}"
    );
    let some = ["--article", "quay", "--into", "es", "--kind", "human", "--all"];
    let some = server.run(&[&["jobs", "list", "--output", "json"], &some[..]].concat());
    assert_eq!(some.json().remove(0)["jobId"], "quay/es/human/1");
    let first = server.run(&["jobs", "list", "--limit", "1"]);
    assert!(first.stderr.starts_with("there may be more"), "{}", first.stderr);
    assert_eq!(first.ok().lines().count(), 2);

    let canceled = server.run(&["jobs", "cancel", "harbour/es/mt/1", "harbour/es/mt/7"]);
    assert_eq!(canceled.code, Some(1));
    assert_eq!(canceled.stdout, "canceled harbour/es/mt/1\n");
    assert!(
        canceled.stderr.starts_with("harbour/es/mt/7: ") && canceled.stderr.contains("JOB_NOT_FOUND"),
        "{}",
        canceled.stderr
    );
    let states = ["jobs", "list", "--state", "canceled,dead", "--output", "json"];
    assert_eq!(server.run(&states).json().len(), 1);
    assert_eq!(
        server.run(&["jobs", "retry", "harbour/es/mt/1"]).ok(),
        "pending harbour/es/mt/1\n"
    );
    let page = server.run(&["jobs", "show", "quay/es/mt/1"]).ok();
    for line in [
        "job         quay/es/mt/1\n",
        "article     quay, revision 1\n",
        "segments    title s1 s2\n",
        "not before  2098-01-02 03:04:05\n",
    ] {
        assert!(page.contains(line), "{page}");
    }
}

#[test]
fn a_request_goes_over_all_pages_of_its_query() {
    let (server, _directory) = server();
    let lines: String = (0..1_200)
        .map(|n| {
            json!({"id": format!("a{n}"), "title": "T", "body": "One.", "language": "en"}).to_string() + "\n"
        })
        .collect();
    server.feed(&["import", "-", "--format", "jsonl"], &lines).ok();
    let request = ["jobs", "request", "--all", "--into", "es", "--kind", "mt"];
    let opened = server.run(&[&request[..], &["--output", "json"]].concat()).json();
    let mut ids: Vec<_> = opened.iter().map(|job| job["jobId"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((opened.len(), ids.len()), (1_200, 1_200));
    let again = server.run(&request).ok();
    assert!(again.contains("es    mt    0       1200"), "{again}");
    let listed = server.run(&["jobs", "list", "--all", "--output", "json"]);
    assert_eq!(listed.json().len(), 1_200);
    // More by their ids than one call takes.
    let ids: Vec<_> = (0..1_000).map(|n| format!("a{n}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let many = ["--into", "de,fr,it,pt,ru,uk", "--kind", "review,score"];
    let request = [&["jobs", "request"][..], &ids, &many].concat();
    let nothing = server.run(&request).ok();
    let rows: Vec<Vec<_>> = nothing
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 12);
    assert!(
        rows.iter()
            .all(|row| row[2..] == ["0", "0", "1000", "0", "0", "0"]),
        "{nothing}"
    );
}

#[test]
fn a_worker_whose_work_others_did_meanwhile_goes_on() {
    let (server, directory) = server();
    server.order("harbour");
    let mut worker = Worker::start(&server, &waiting(&directory), &[]);
    number(&directory.path().join("started"));
    let mut attach = vec!["attach", "harbour", "--language", "es", "--revision", "1"];
    attach.extend(["--agent", "human", "--person", "Inés"]);
    let wanted = server.job("harbour/es/mt/1")["segmentIds"].clone();
    let texts: Vec<_> = wanted
        .as_array()
        .unwrap()
        .iter()
        .map(|id| format!("{}=de Inés", id.as_str().unwrap()))
        .collect();
    attach.extend(texts.iter().flat_map(|text| ["--segment", text]));
    server.run(&attach).ok();
    fs::write(directory.path().join("go"), "").unwrap();
    assert_eq!(
        worker.line(),
        "done harbour/es/mt/1: nothing of it was wanted any more"
    );
    server.order("quay");
    assert!(worker.line().starts_with("done quay/es/mt/1: "));
    assert_eq!(worker.end(Signal::TERM), Some(0));
    assert_eq!(server.spanish("harbour")[0], "de Inés");
}

#[test]
fn policies_open_jobs_and_are_put_listed_and_deleted() {
    let (server, _directory) = server();
    let put = |options: &[&str]| {
        let fixed = [
            "policy",
            "put",
            "spanish",
            "--from",
            "en",
            "--into",
            "es",
            "--kind",
            "mt,review",
        ];
        server.run(&[&fixed[..], options].concat())
    };
    let first = put(&["--output", "json"]).json().remove(0);
    assert_eq!(
        (&first["priority"], &first["maxAttempts"]),
        (&json!(3), &json!(5))
    );
    let etag = first["etag"].as_str().unwrap();
    server.import("harbour");
    assert_eq!(server.job("harbour/es/mt/1")["policyId"], "spanish");
    assert_eq!(server.work("cat", &[]).ok().lines().count(), 1);
    assert_eq!(server.job("harbour/es/review/1")["state"], "JOB_STATE_PENDING");

    let changed = put(&["--section", "port", "--priority", "1", "--paused", "--etag", etag]).ok();
    assert!(
        changed.starts_with("spanish: en to es by mt, review; section port, etag "),
        "{changed}"
    );
    let lost = put(&["--etag", etag]);
    assert_eq!(lost.code, Some(1));
    assert!(lost.stderr.contains("ETAG_MISMATCH"), "{}", lost.stderr);
    let listed = server.run(&["policy", "list"]).ok();
    assert!(
        listed
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("spanish  paused  1         5      "),
        "{listed}"
    );
    let delete = ["policy", "delete", "spanish"];
    assert_eq!(server.run(&delete).ok(), "deleted spanish\n");
    assert_eq!(server.run(&delete).code, Some(1));
    let again = [&delete[..], &["--allow-missing", "--output", "json"]].concat();
    assert_eq!(server.run(&again).ok(), "{}\n");
    assert_eq!(server.run(&["policy", "list", "--output", "json"]).ok(), "");
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    let (server, _directory) = server();
    let mt =
        |options: &[&'static str]| [&["jobs", "request", "--into", "es", "--kind", "mt"], options].concat();
    for usage in [
        mt(&[]),
        mt(&["--zone", "UTC"]),
        mt(&["a1", "--section", "port"]),
        mt(&["a1", "--missing", "es"]),
        mt(&["a1", "--all"]),
        mt(&["a1", "--priority", "5"]),
        mt(&["a1", "--deadline", "tomorrow"]),
        vec!["jobs"],
        vec!["jobs", "request", "a1", "--into", "es"],
        vec!["jobs", "request", "a1", "--into", "es", "--kind", "magic"],
        vec!["jobs", "cancel"],
        vec!["jobs", "list", "--state", "tired"],
        vec!["policy", "put", "p1", "--kind", "mt"],
        vec!["work"],
        vec!["work", "--command", "cat", "--kind", "review"],
        vec!["work", "--command", "cat", "--lease", "5"],
        vec!["work", "--command", "cat", "--max", "0"],
    ] {
        let done = server.run(&usage);
        assert_eq!(done.code, Some(2), "{usage:?} {}", done.stderr);
    }
    let wrong = server.work("cat", &["--lease", "13h"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("lease: "), "{}", wrong.stderr);
}

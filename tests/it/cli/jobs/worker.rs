//! Workers that run a program for each job.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PAGE, SHORT_LEASES, Worker, is_running, number, until, waiting};
use crate::cli::{Server, server};

#[test]
fn any_program_translates() {
    let (server, directory) = server();
    server.order("harbour");
    let told = directory.path().join("told");
    let command = format!(
        "echo $SOURCE_LANGUAGE $TARGET_LANGUAGE $ARTICLE_ID $SEGMENT_ID $ROLE $JOB_ID >> {}; tr a-z A-Z",
        told.display()
    );
    let engine = [
        "--from",
        "en",
        "--engine",
        "caps",
        "--model",
        "en-es",
        "--model-version",
        "7",
    ];
    let done = server.work(&command, &engine).ok();
    assert_eq!(
        done,
        "done harbour/es/mt/1: created es/t1 current; made from revision 1; active, translated, machine unreviewed\n"
    );
    assert_eq!(
        fs::read_to_string(told).unwrap(),
        "en es harbour title title harbour/es/mt/1\n\
         en es harbour s1 paragraph harbour/es/mt/1\n\
         en es harbour s2 paragraph harbour/es/mt/1\n"
    );
    assert_eq!(
        server.spanish("harbour"),
        [
            "THE HARBOUR OPENS",
            "THE HARBOUR OPENED ON TUESDAY.",
            "THE SHIPS CAME BACK IN THE EVENING."
        ]
    );
    let history = ["provenance", "harbour", "--language", "es", "--output", "json"];
    let step = server.run(&history).json().remove(0);
    assert_eq!(
        step["agent"],
        json!({"kind": "AGENT_KIND_MT", "tool": "article-store work", "engine": "caps", "model": "en-es", "modelVersion": "7"})
    );
    assert_eq!(
        (&step["jobId"], &step["effort"]["characters"]),
        (&json!("harbour/es/mt/1"), &json!("82"))
    );

    // Only what has changed is asked for again, and a program need not be an engine.
    let corrected = PAGE.replace("Tuesday", "Monday");
    server
        .feed(
            &["import", "-", "--id", "harbour", "--language", "en"],
            &corrected,
        )
        .ok();
    server
        .run(&["jobs", "request", "--stale", "es", "--into", "es", "--kind", "mt"])
        .ok();
    assert!(
        server.work("cat", &["--from", "fr"]).ok().is_empty(),
        "no job is from French"
    );
    let rule = server.work("echo lunes", &["--agent", "rule", "--output", "json"]);
    let job = rule.json().remove(0);
    assert_eq!(
        (&job["state"], &job["segmentIds"]),
        (&json!("JOB_STATE_DONE"), &json!(["s1"]))
    );
    assert_eq!(server.spanish("harbour")[1], "lunes");
    assert!(server.work("false", &[]).ok().is_empty(), "nothing is left");
}

#[test]
fn a_program_that_fails_says_why_and_one_that_is_not_there_costs_no_attempt() {
    let (server, _directory) = server();
    server.order("harbour");
    let failed = server.work(
        "printf 'loading\\nno \\033[31mmodel\\n' >&2; exit 3",
        &["--output", "json"],
    );
    assert_eq!(failed.code, Some(1));
    let message = "title: the program failed: exit code 3: no [31mmodel";
    assert_eq!(
        failed.stderr,
        format!("failed harbour/es/mt/1, now pending: {message}\n")
    );
    let job: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!(
        (&job["attempts"], &job["lastFailure"]["message"]),
        (&json!(1), &json!(message))
    );
    let listed = server.run(&["jobs", "list"]).ok();
    assert!(listed.contains("; failed: title: the program failed"), "{listed}");
    assert!(
        server.work("cat", &[]).ok().is_empty(),
        "it waits for its next attempt"
    );

    server.order("quay");
    let absent = server.work("no-such-engine", &[]);
    assert_eq!(absent.code, Some(1));
    assert!(
        absent
            .stderr
            .starts_with("released quay/es/mt/1\nerror: the program failed: exit code 127: "),
        "{}",
        absent.stderr
    );
    assert_eq!(server.job("quay/es/mt/1").get("attempts"), None);
    // What the store refuses is a failure too: control characters have no place in a text.
    let refused = server.work("printf 'a\\033b'", &[]);
    assert_eq!(refused.code, Some(1));
    let failure = &server.job("quay/es/mt/1")["lastFailure"]["message"];
    assert!(failure.as_str().unwrap().contains("U+001B"), "{failure}");
    assert!(!refused.stderr.contains('\u{1b}'));
}

#[test]
fn a_worker_that_is_stopped_gives_its_job_back() {
    let (server, directory) = server();
    server.order("harbour");
    for signal in [Signal::INT, Signal::TERM] {
        let mut worker = Worker::start(&server, &waiting(&directory), &["--worker", "mill 2"]);
        let started = directory.path().join("started");
        let program = number(&started);
        let job = server.job("harbour/es/mt/1");
        assert_eq!(
            (&job["state"], &job["worker"]),
            (&json!("JOB_STATE_LEASED"), &json!("mill 2"))
        );
        assert_eq!(worker.end(signal), Some(0));
        assert_eq!(worker.said(), "released harbour/es/mt/1");
        until(|| (!is_running(program)).then_some(()));
        let job = server.job("harbour/es/mt/1");
        assert_eq!(
            (&job["state"], job.get("attempts")),
            (&json!("JOB_STATE_PENDING"), None)
        );
        fs::remove_file(started).unwrap();
    }
}

#[test]
fn a_lease_is_kept_as_long_as_the_work_goes_on_and_the_work_dropped_when_it_is_lost() {
    let directory = TempDir::new().unwrap();
    let server = Server::start_with(&directory.path().join("store"), &SHORT_LEASES);
    server.order("harbour");
    let mut worker = Worker::start(&server, &waiting(&directory), &["--lease", "1s"]);
    let started = directory.path().join("started");
    let program = number(&started);
    // The end of the lease, as long as it is held.
    let lease = || {
        server.job("harbour/es/mt/1")["leaseExpireTime"]
            .as_str()
            .map(str::to_owned)
    };
    let ends = lease().expect("it is leased");
    until(|| lease().filter(|later| *later != ends));

    server.run(&["jobs", "cancel", "harbour/es/mt/1"]).ok();
    assert_eq!(worker.said(), "dropped harbour/es/mt/1: its lease was lost");
    until(|| (!is_running(program)).then_some(()));
    // And it goes on with the next one.
    fs::write(directory.path().join("go"), "").unwrap();
    server.order("quay");
    assert!(worker.line().starts_with("done quay/es/mt/1: "));
    assert_eq!(worker.end(Signal::TERM), Some(0));
    assert_eq!(server.job("harbour/es/mt/1")["state"], "JOB_STATE_CANCELED");
}

#[test]
fn a_server_that_goes_away_is_waited_for() {
    let (server, directory) = server();
    server.order("harbour");
    let mut worker = Worker::start(&server, &waiting(&directory), &[]);
    number(&directory.path().join("started"));
    let address = server.address().to_owned();
    assert_eq!(server.stop().0, Some(0));
    fs::write(directory.path().join("go"), "").unwrap();
    let away = worker.said();
    assert!(away.starts_with("the server cannot help now: "), "{away}");
    let server = Server::start_at(&address, &directory.path().join("store"), &[]);
    assert!(
        worker
            .line()
            .starts_with("done harbour/es/mt/1: created es/t1 current")
    );
    assert_eq!(server.job("harbour/es/mt/1")["attempts"], 1);
    server.order("quay");
    assert!(worker.line().starts_with("done quay/es/mt/1: "));
    assert_eq!(worker.end(Signal::INT), Some(0));
}

#[test]
fn a_worker_has_as_many_jobs_as_it_may() {
    let (server, directory) = server();
    server.order("harbour");
    server.order("quay");
    // Each waits for the other.
    let here = directory.path().display();
    let command = format!(
        "touch {here}/$ARTICLE_ID; until [ -e {here}/harbour ] && [ -e {here}/quay ]; do sleep 0.02; done; cat"
    );
    let done = server.work(&command, &["--max", "2"]).ok();
    assert_eq!(done.lines().count(), 2, "{done}");
}

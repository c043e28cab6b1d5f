//! The command line as its users meet it: real processes, a real server on a free port, pipes instead of terminals.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::real_data;
use crate::process::{PROGRAM, Process, serve};

mod identity;
mod jobs;
mod lifecycle;
mod lines;
mod log;
mod pages;
mod peers;
mod reading;
mod scores;
mod watch;
mod workflow;

pub(crate) const PAGE: &str = "examples/pages/makers-market-ar.txt";
pub(crate) const TRANSLATION: &str = "examples/translations/makers-market-en.txt";

/// What a command left behind.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// The objects of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn json(self) -> Vec<Value> {
        objects(&self.ok())
    }
}

fn objects(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

pub(crate) fn program(server: &str) -> Command {
    on_path(PROGRAM, server)
}

/// Another program, with the environment of a client.
fn on_path(program: &str, server: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("ARTICLE_STORE_SERVER", server)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

pub(crate) fn run(server: &str, args: &[&str], stdin: &str) -> Done {
    output(program(server).args(args), stdin)
}

/// Runs a script of the shell, in which `article-store` is the program and calls a server.
pub(crate) fn shell(server: &Server, script: &str) -> Done {
    let folder = Path::new(PROGRAM).parent().unwrap().display();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    output(
        on_path("bash", &server.address)
            .arg("-c")
            .arg(script)
            .env("PATH", path),
        "",
    )
}

/// Runs a command to its end with this input.
fn output(command: &mut Command, stdin: &str) -> Done {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes it.
    drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A server of its own for a test.
pub(crate) struct Server {
    process: Process,
    address: String,
}

impl Server {
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_with(directory, &[])
    }

    pub(crate) fn start_with(directory: &Path, options: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", directory, options)
    }

    fn start_at(address: &str, directory: &Path, options: &[&str]) -> Self {
        Self::start_by(program(""), address, directory, options)
    }

    /// On a volume that has too little free space for writes.
    pub(crate) fn start_on_full_volume(directory: &Path) -> Self {
        let mut program = program("");
        serve(&mut program, "127.0.0.1:0", directory, 999_999_999_999_999);
        Self::of(&mut program)
    }

    fn of(command: &mut Command) -> Self {
        let process = Process::start(command.stderr(Stdio::piped()));
        let address = process.address().wait().expect("the server starts");
        Self { process, address }
    }

    fn start_by(mut program: Command, address: &str, directory: &Path, options: &[&str]) -> Self {
        serve(&mut program, address, directory, 0);
        Self::of(program.args(options))
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        self.feed(args, "")
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The most memory that it ever took, in KiB.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        self.process.memory_kib("VmHWM")
    }

    /// Limits its file descriptors to this number, including the open ones.
    pub(crate) fn limit_descriptors(&self, number: u64) {
        let limit = Rlimit {
            current: Some(number),
            maximum: Some(number),
        };
        prlimit(
            Some(Pid::from_child(&self.process.child)),
            Resource::Nofile,
            limit,
        )
        .unwrap();
    }

    fn feed(&self, args: &[&str], stdin: &str) -> Done {
        run(&self.address, args, stdin)
    }

    /// Stops the server as an operator does; answers its exit code and its log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let id = Pid::from_child(&self.process.child);
        kill_process(id, Signal::TERM).unwrap();
        let code = self.process.child.wait().unwrap().code();
        let mut log = String::new();
        let mut stderr = self.process.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (code, log)
    }
}

pub(crate) fn server() -> (Server, TempDir) {
    let directory = TempDir::new().unwrap();
    (Server::start(&directory.path().join("store")), directory)
}

#[test]
fn articles_are_withheld_embargoed_and_purged() {
    let (server, _directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    let withhold = [
        "publication",
        "market",
        "--status",
        "withheld",
        "--reason",
        "a source asked",
    ];
    let page = server.run(&withhold).ok();
    // Whoever may not read what is hidden is told that it is done, and no more.
    assert!(
        page.starts_with("id          market\nrevision    1, etag "),
        "{page}"
    );
    let hidden = server.run(&["get", "market"]);
    assert_eq!(hidden.code, Some(1));
    assert!(hidden.stderr.contains("ARTICLE_NOT_FOUND"), "{}", hidden.stderr);
    let asked = server.run(&["get", "market", "--hidden"]);
    assert!(
        asked.stderr.contains("MISSING_SCOPE (PERMISSION_DENIED)"),
        "{}",
        asked.stderr
    );
    assert!(server.run(&["export"]).json().is_empty());
    let directory = TempDir::new().unwrap();
    let editors = Server::start_with(
        &directory.path().join("store"),
        &["--anonymous-scopes", "read,ingest,admin,embargoed,editorial"],
    );
    editors.run(&["import", PAGE, "--id", "market"]).ok();
    editors.run(&withhold).ok();
    let listed = editors.run(&["list", "--hidden"]).ok();
    assert!(listed.contains("(withheld) "), "{listed}");
    assert_eq!(editors.run(&["list"]).ok().lines().count(), 1);
    let release = ["publication", "market", "--status", "usable"];
    let embargo = ["--embargo", "2999-01-01T00:00:00Z"];
    let page = editors.run(&[&release[..], &embargo].concat()).ok();
    assert!(page.contains("embargo     2999-01-01 00:00:00"), "{page}");
    assert_eq!(editors.run(&["get", "market"]).code, Some(1));
    editors.run(&[&release[..], &["--lift-embargo"]].concat()).ok();
    editors.run(&["get", "market"]).ok();
    assert_eq!(editors.run(&["purge", "market"]).code, Some(2));
    let purged = editors
        .run(&["purge", "market", "--reason", "court order 17"])
        .ok();
    assert!(
        purged.starts_with("market purged at 2") && purged.ends_with(" UTC: court order 17\n"),
        "{purged}"
    );
    let gone = editors.run(&["get", "market"]);
    assert!(gone.stderr.contains("ARTICLE_PURGED"), "{}", gone.stderr);
    let bad = run("", &["serve", "--anonymous-scopes", "root"], "");
    assert_eq!(bad.code, Some(2));
    assert!(bad.stderr.contains("embargoed, editorial"), "{}", bad.stderr);
}

#[test]
fn the_exit_code_says_what_happened() {
    let (server, _directory) = server();
    for usage in [
        &["frobnicate"][..],
        &["list", "--from", "yesterday"],
        &["list", "--undated", "--from", "2022-05-10"],
        &["list", "--zone", "Mars/Olympus"],
        &["attach", "a1", "--language", "en"],
        &["get", "a1", "--revision", "1", "--as-of", "2022-05-10T22:45:00Z"],
        &["get", "a1", "--as-of", "10 May"],
        &["import", "a.txt", "b.txt", "--id", "a1"],
        &["import", PAGE, "--map", "headline=title"],
        &["serve", "--store", "papyrus:scroll"],
        &["serve", "--max-article-bytes", "99999999"],
        &["serve", "--max-message-bytes", "2000000"],
        &["serve", "--max-segments", "10001"],
        &["serve", "--max-batch", "0"],
        &["serve", "--max-resets", "0"],
        &["health", "--server", "not an address"],
    ] {
        let done = server.run(usage);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(2), ""),
            "{usage:?} {}",
            done.stderr
        );
        assert!(done.stderr.starts_with("error: "), "{usage:?} {}", done.stderr);
    }
    let missing = server.run(&["get", "a1"]);
    assert_eq!(missing.code, Some(1));
    assert_eq!(
        missing.stderr,
        "error: there is no article \"a1\"\n  reason ARTICLE_NOT_FOUND (NOT_FOUND)\n"
    );
    let hostile = server.run(&["get", "\u{1b}[2J\u{9b}31m"]);
    assert_eq!(hostile.code, Some(1));
    assert!(
        !hostile.stderr.chars().any(|c| c.is_control() && c != '\n'),
        "{:?}",
        hostile.stderr
    );
    let unreadable = server.run(&["import", "/no/such/page.txt"]);
    assert_eq!(unreadable.code, Some(1));
    assert!(
        unreadable
            .stdout
            .starts_with("failed /no/such/page.txt cannot be read:"),
        "{}",
        unreadable.stdout
    );
    assert_eq!(server.run(&["health"]).ok(), "serving\n");
    assert_eq!(server.run(&["--help"]).code, Some(0));
    let by_variable = program(&server.address)
        .args(["list"])
        .env("ARTICLE_STORE_LIST_UNDATED", "1")
        .env("ARTICLE_STORE_LIST_FROM", "2022-05-10")
        .output()
        .unwrap();
    assert_eq!(by_variable.status.code(), Some(2));
}

#[test]
fn a_server_stops_in_order_and_starts_with_what_it_had() {
    let (first, directory) = server();
    let address = first.address.clone();
    first.run(&["import", PAGE, "--id", "market"]).ok();

    let other = format!("sled:{}", directory.path().join("other").display());
    let taken = run(
        "",
        &["serve", "--listen", &address, "--store", &other, "--log", "off"],
        "",
    );
    assert_eq!(taken.code, Some(1));
    assert!(
        taken
            .stderr
            .starts_with(&format!("error: cannot listen on {address}: ")),
        "{}",
        taken.stderr
    );
    assert!(
        !directory.path().join("other").exists(),
        "the store is opened after the address is bound"
    );
    let store = format!("sled:{}", directory.path().join("store").display());
    let in_use = run(
        "",
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            &store,
            "--log",
            "off",
        ],
        "",
    );
    assert_eq!((in_use.code, in_use.stdout.as_str()), (Some(1), ""));
    assert!(
        in_use.stderr.contains("is in use by another process"),
        "{}",
        in_use.stderr
    );
    assert_eq!(in_use.stderr.lines().count(), 1, "{}", in_use.stderr);

    let (code, log) = first.stop();
    assert_eq!(code, Some(0), "{log}");
    for message in [
        "configuration",
        "the store is open",
        "serving",
        "stopping",
        "stopped",
    ] {
        assert!(
            log.contains(&format!("\"message\":\"{message}\"")),
            "{message} is not in {log}"
        );
    }
    let gone = run(&address, &["health"], "");
    assert_eq!(gone.code, Some(1));
    assert!(
        gone.stderr
            .contains(&format!("no server answers at http://{address}")),
        "{}",
        gone.stderr
    );
    assert!(gone.stderr.contains("article-store serve"), "{}", gone.stderr);

    let second = Server::start(&directory.path().join("store"));
    assert_eq!(
        second.run(&["get", "market", "--output", "json"]).json()[0]["revision"],
        1
    );
}

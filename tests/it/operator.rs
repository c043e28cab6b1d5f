//! The operator's commands as an operator meets them: real processes against a real server and against directories whose
//! server is stopped.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Done, PAGE, Server, TRANSLATION, program, run, server};

fn store(directory: &Path) -> String {
    format!("sled:{}", directory.display())
}

/// A server with a page, its correction and a translation.
fn filled() -> (Server, TempDir) {
    let (server, directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    let attach = [
        "attach",
        "market",
        "--language",
        "en",
        "--revision",
        "1",
        "--agent",
        "human",
    ];
    server.run(&[&attach[..], &["--file", TRANSLATION]].concat()).ok();
    server.run(&["import", TRANSLATION, "--id", "other"]).ok();
    (server, directory)
}

/// Runs a command that needs no server, on a volume of any size.
fn offline(args: &[&str]) -> Done {
    let space = matches!(args[0], "restore" | "copy" | "compact");
    let space: &[&str] = if space { &["--min-free-bytes", "0"] } else { &[] };
    run("http://127.0.0.1:1", &[args, space].concat(), "")
}

#[track_caller]
fn fails(done: &Done, words: &[&str]) {
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(1), ""),
        "{}",
        done.stderr
    );
    for word in words {
        assert!(done.stderr.contains(word), "{word:?} is not in {}", done.stderr);
    }
    assert!(done.stderr.starts_with("error: "), "{}", done.stderr);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What an export of a store says, without the tokens.
fn content(server: &Server) -> Vec<Value> {
    let mut items = server.run(&["export", "--translations", "--deleted"]).json();
    for item in &mut items {
        item.as_object_mut().unwrap().remove("resumeToken");
    }
    items
}

#[test]
fn the_status_is_for_people_and_for_programs() {
    let (server, _directory) = filled();
    let table = server.run(&["status"]).ok();
    for line in [
        "articles       2, and 0 deleted\n",
        "revisions      2\n",
        "translations   1\n",
        "newest commit  3\n",
        "last check     none since the server started\n",
        "LANGUAGE  ARTICLES  DELETED  REVISIONS  TRANSLATIONS\n",
        "ar        1         0        1          0\n",
        "en        1         0        1          1\n",
    ] {
        assert!(table.contains(line), "{line:?} is not in {table}");
    }
    let json = &server.run(&["status", "--output", "json"]).json()[0];
    assert_eq!(json["seq"], "3");
    assert_eq!(json["totals"]["translations"], "1");
    assert_eq!(json["engine"], "sled");
    assert_eq!(server.run(&["check"]).code, Some(0));
    let table = server.run(&["status"]).ok();
    assert!(table.contains(" UTC: nothing is wrong, "), "{table}");
}

#[test]
fn a_check_says_what_is_wrong_and_exits_with_1() {
    let (server, directory) = filled();
    let sound = server.run(&["check"]);
    assert!(sound.stdout.starts_with("nothing is wrong, "), "{}", sound.stdout);
    assert_eq!(
        (sound.code, sound.stderr.as_str()),
        (Some(0), ""),
        "no progress in a pipe"
    );
    let at = store(&directory.path().join("store"));
    let held = offline(&["check", "--store", &at]);
    fails(
        &held,
        &[
            "is in use by another process; stop that process",
            "leave out --store to ask its server",
        ],
    );
    assert_eq!(server.stop().0, Some(0));
    let done = offline(&["check", "--store", &at, "--output", "json"]).json();
    assert_eq!(done.last().unwrap()["summary"]["seq"], "3");

    break_head(&directory.path().join("store"));
    let broken = offline(&["check", "--store", &at]);
    assert_eq!(broken.code, Some(1));
    assert!(
        broken
            .stdout
            .contains("head market: its checksum does not match\n"),
        "{}",
        broken.stdout
    );
    let last = broken.stdout.lines().last().unwrap();
    assert!(
        last.contains(" findings, ") || last.starts_with("1 finding, "),
        "{last}"
    );
    let findings = offline(&["check", "--store", &at, "--output", "json"]);
    assert_eq!(findings.code, Some(1));
    assert!(findings.stdout.contains(r#"{"finding":{"record":"head market","#));

    let server = Server::start(&directory.path().join("store"));
    let broken = server.run(&["check"]);
    assert_eq!(broken.code, Some(1));
    assert!(broken.stdout.contains("head market: "), "{}", broken.stdout);
}

fn break_head(directory: &Path) {
    use article_store::store::kv::engine::{Engine, Write};
    use article_store::store::kv::sled::{SledConfig, SledEngine};
    let config = SledConfig {
        min_free_bytes: Some(0),
        ..SledConfig::new(directory)
    };
    let engine = SledEngine::open(config).unwrap();
    let mut record = engine.get(b"hmarket").unwrap().unwrap();
    *record.last_mut().unwrap() ^= 1;
    engine
        .apply(vec![Write::Put(b"hmarket".to_vec(), record)])
        .unwrap();
    engine.close().unwrap();
}

#[test]
fn a_command_about_no_store_makes_none() {
    let directory = TempDir::new().unwrap();
    let nowhere = directory.path().join("nowhere");
    let target = store(&directory.path().join("target"));
    let file = directory.path().join("backup");
    for args in [
        &["check", "--store", &store(&nowhere)][..],
        &["backup", text(&file), "--store", &store(&nowhere)],
        &["compact", "--store", &store(&nowhere)],
        &["copy", "--from", &store(&nowhere), "--to", &target],
    ] {
        fails(
            &offline(args),
            &["there is no store in", "nowhere", "article-store serve"],
        );
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    for usage in [
        &["check", "--store", "memory"][..],
        &["restore", "backup"],
        &["restore", "backup", "--store", "papyrus:scroll"],
        &["copy", "--from", "sled:a", "--to", "memory"],
    ] {
        assert_eq!(offline(usage).code, Some(2), "{usage:?}");
    }
    let same = store(directory.path());
    assert_eq!(offline(&["copy", "--from", &same, "--to", &same]).code, Some(2));
}

#[test]
fn a_backup_is_written_whole_or_not_at_all() {
    let (server, directory) = filled();
    let file = directory.path().join("articles.backup");
    let name = text(&file);
    let said = server.run(&["backup", name]);
    assert_eq!(said.stderr, "", "no progress in a pipe");
    assert!(said.ok().starts_with("backed up commit 3: "));
    let first = fs::read(&file).unwrap();
    fails(
        &server.run(&["backup", name]),
        &["is there already; replace it with --force, or name another file"],
    );
    assert_eq!(fs::read(&file).unwrap(), first);
    server.run(&["import", TRANSLATION, "--id", "third"]).ok();
    // What an earlier one left is no obstacle.
    let part = directory.path().join("articles.backup.part");
    fs::write(&part, b"left over").unwrap();
    let manifest = &server
        .run(&["backup", "--force", name, "--output", "json"])
        .json()[0];
    assert_eq!(manifest["seq"], "4");
    assert_eq!(manifest["lineCounts"]["articles"], "3");
    assert_eq!(
        manifest["sizeBytes"].as_str().unwrap(),
        fs::metadata(&file).unwrap().len().to_string()
    );
    assert!(!part.exists());

    let mut piped = program(server.address());
    let piped = piped_output(piped.args(["backup", "-"]));
    assert!(piped.1.starts_with("backed up commit 4: "), "{}", piped.1);
    fs::write(&file, piped.0).unwrap();
    let target = directory.path().join("target");
    offline(&["restore", name, "--store", &store(&target)]).ok();

    fails(
        &server.run(&["backup", "/no/such/directory/file"]),
        &["cannot be written"],
    );
    fails(
        &server.run(&["backup", text(directory.path())]),
        &["is a directory"],
    );
    let gone = directory.path().join("gone");
    fails(&offline(&["backup", text(&gone)]), &["no server answers"]);
    assert!(!gone.exists() && !directory.path().join("gone.part").exists());
    // And of a store whose server is stopped.
    server.stop();
    let at = store(&directory.path().join("store"));
    let said = offline(&["backup", "--force", name, "--store", &at]).ok();
    assert!(said.starts_with("backed up commit 4: "), "{said}");
}

/// What a command writes to standard output, as bytes, and to standard error.
fn piped_output(command: &mut std::process::Command) -> (Vec<u8>, String) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    (output.stdout, stderr)
}

#[test]
fn a_restore_makes_the_same_store_with_a_new_epoch() {
    let (server, directory) = filled();
    let file = directory.path().join("articles.backup");
    server.run(&["backup", text(&file)]).ok();
    let before = content(&server);
    let epoch = server.run(&["status", "--output", "json"]).json()[0]["epoch"].clone();

    let own = directory.path().join("store");
    fails(
        &offline(&["restore", text(&file), "--store", &store(&own), "--replace"]),
        &["is in use by another process; stop that process"],
    );
    let other = directory.path().join("other");
    let floor = ["--min-free-bytes", "999999999999999"];
    let at = store(&other);
    let full = run(
        "",
        &[&["restore", text(&file), "--store", &at], &floor[..]].concat(),
        "",
    );
    fails(&full, &["bytes free, and writes need 999999999999999"]);
    let left: Vec<_> = fs::read_dir(&other)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"], "what was not finished is removed");
    let said = offline(&["restore", text(&file), "--store", &store(&other)]);
    assert_eq!(said.stderr, "", "no progress in a pipe");
    let said = said.ok();
    assert!(said.starts_with("restored commit 3 of "), "{said}");
    assert!(
        said.contains(": 2 articles, 0 deleted, 2 revisions, 1 translation\nits new epoch is "),
        "{said}"
    );
    let there = Server::start(&other);
    assert_eq!(content(&there), before);
    let new_epoch = there.run(&["status", "--output", "json"]).json()[0]["epoch"].clone();
    assert_ne!(new_epoch, epoch);
    assert!(said.contains(new_epoch.as_str().unwrap()));
    there.run(&["import", PAGE, "--id", "newer"]).ok();
    there.stop();

    fails(
        &offline(&["restore", text(&file), "--store", &store(&other)]),
        &["holds a store already; give --replace"],
    );
    let json = &offline(&[
        "restore",
        text(&file),
        "--store",
        &store(&other),
        "--replace",
        "--output",
        "json",
    ])
    .json()[0];
    assert_eq!((&json["seq"], &json["articles"]), (&3.into(), &2.into()));
    assert_eq!(
        content(&Server::start(&other)),
        before,
        "the newer article is gone"
    );
}

#[test]
fn what_is_no_whole_backup_is_refused_by_name_and_touches_nothing() {
    let (server, directory) = filled();
    let file = directory.path().join("articles.backup");
    server.run(&["backup", text(&file)]).ok();
    let before = content(&server);
    server.stop();
    let whole = fs::read(&file).unwrap();
    let lines = String::from_utf8(zstd::decode_all(&whole[..]).unwrap()).unwrap();
    let altered = zstd::encode_all(lines.replacen("market", "Market", 1).as_bytes(), 1).unwrap();
    let own = directory.path().join("store");
    for (name, bytes, words) in [
        ("half", whole[..whole.len() / 2].to_vec(), "is cut off"),
        ("altered", altered, "was altered"),
        (
            "foreign",
            fs::read(PAGE).unwrap(),
            "is not a backup of an article store",
        ),
        ("empty", Vec::new(), "is not a backup of an article store"),
    ] {
        let bad = directory.path().join(name);
        fs::write(&bad, bytes).unwrap();
        let refused = offline(&["restore", text(&bad), "--store", &store(&own), "--replace"]);
        fails(&refused, &[text(&bad), words]);
    }
    let missing = offline(&["restore", "/no/such/file", "--store", &store(&own), "--replace"]);
    fails(&missing, &["cannot read /no/such/file"]);
    assert_eq!(content(&Server::start(&own)), before);
}

#[test]
fn a_copy_is_the_same_in_everything() {
    let (server, directory) = filled();
    let before = content(&server);
    let epoch = server.run(&["status", "--output", "json"]).json()[0]["epoch"].clone();
    let (from, to) = (directory.path().join("store"), directory.path().join("copy"));
    let copy = |to: &PathBuf| offline(&["copy", "--from", &store(&from), "--to", &store(to)]);
    fails(&copy(&to), &["is in use by another process"]);
    server.stop();
    let said = copy(&to).ok();
    assert!(
        said.ends_with(", up to commit 3: 2 articles, 0 deleted, 2 revisions, 1 translation\n"),
        "{said}"
    );
    fails(
        &copy(&to),
        &["holds a store already; choose another directory with --to"],
    );
    let there = Server::start(&to);
    assert_eq!(content(&there), before);
    assert_eq!(
        there.run(&["status", "--output", "json"]).json()[0]["epoch"],
        epoch
    );
    there.run(&["check"]).ok();
}

#[test]
fn a_compaction_says_what_it_gave_back() {
    let (server, directory) = filled();
    let before = content(&server);
    let said = server.run(&["compact"]);
    assert_eq!(said.stderr, "", "no progress in a pipe");
    assert!(said.ok().starts_with("compacted: the store took "));
    assert_eq!(content(&server), before);
    server.stop();
    let at = directory.path().join("store");
    let json = &offline(&["compact", "--store", &store(&at), "--output", "json"]).json()[0];
    assert!(json["diskBytesAfter"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    let full = run(
        "",
        &[
            "compact",
            "--store",
            &store(&at),
            "--min-free-bytes",
            "999999999999999",
        ],
        "",
    );
    fails(&full, &["bytes free", "reason STORE_FULL (RESOURCE_EXHAUSTED)"]);
    assert_eq!(content(&Server::start(&at)), before);
}

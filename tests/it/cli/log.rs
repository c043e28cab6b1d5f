//! The log of a server as a collector of logs reads it.

use serde_json::Value;

use super::{PAGE, Server, server};

/// The lines of a log.
fn lines(log: &str) -> Vec<Value> {
    super::objects(log)
}

#[test]
fn a_call_that_fails_is_one_line_and_one_that_succeeds_is_none() {
    let (server, _directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    server.run(&["get", "market"]).ok();
    assert_eq!(server.run(&["get", "nothing"]).code, Some(1));
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    let lines = lines(&log);
    for line in &lines {
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z'), "times are UTC: {line}");
        assert!(
            line["level"].is_string() && line["target"].is_string() && line["message"].is_string(),
            "{line}"
        );
        assert!(
            line.as_object().unwrap().values().all(|value| !value.is_object()),
            "flat: {line}"
        );
    }
    let calls: Vec<_> = lines
        .iter()
        .filter(|line| line["target"] == "article_store::rpc")
        .collect();
    let [refused] = calls[..] else {
        panic!("{calls:?}");
    };
    assert_eq!(
        refused["level"], "INFO",
        "what a caller does wrong is no fault of the server"
    );
    assert_eq!(refused["method"], "ArticleService/GetArticle");
    assert_eq!(refused["code"], "NOT_FOUND");
    assert_eq!(refused["reason"], "ARTICLE_NOT_FOUND");
    assert_eq!(refused["error"], "there is no article \"nothing\"");
    assert!(refused["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(refused["request_id"].as_str().unwrap().len(), 36);
}

#[test]
fn every_call_is_a_line_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let options = ["--log", "info,article_store::rpc=debug", "--log-format", "json"];
    let server = Server::start_with(&directory.path().join("store"), &options);
    server.run(&["list"]).ok();
    let (_, log) = server.stop();
    let served: Vec<_> = lines(&log)
        .into_iter()
        .filter(|line| line["code"] == "OK")
        .map(|line| line["method"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(served, ["Health/Check", "ArticleService/ListArticles"], "{log}");
}

#[test]
fn text_in_a_file_has_no_colours() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(&directory.path().join("store"), &["--log-format", "text"]);
    assert_eq!(server.run(&["get", "nothing"]).code, Some(1));
    let (_, log) = server.stop();
    assert!(log.contains("ARTICLE_NOT_FOUND"), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}

#[test]
fn traces_need_a_program_that_has_them() {
    let options = ["serve", "--store", "memory", "--otlp-endpoint", "no address"];
    let done = super::run("", &options, "");
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("--otlp-endpoint"), "{}", done.stderr);
}

//! Tokens: made, given to a server, and called with.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use tempfile::TempDir;

use super::{Done, PAGE, Server, program, run};

/// Runs a command with variables of its own.
fn with(server: &Server, variables: &[(&str, &str)], args: &[&str]) -> Done {
    let output = program(server.address())
        .args(args)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_token_is_made_once_and_called_with() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (tokens, secret) = (path("tokens"), path("nora.token"));
    let make = [
        "token",
        "--name",
        "nora",
        "--scopes",
        "read,ingest",
        "--agent-kinds",
        "human",
    ];
    let line = run("", &[&make[..], &["--write", &secret]].concat(), "").ok();
    let token = fs::read_to_string(&secret).unwrap().trim_end().to_owned();
    assert!(token.starts_with("as_") && token.len() == 46, "{token}");
    assert!(!line.contains(&token));
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    let entry: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&entry["name"], &entry["scopes"][1], &entry["agent_kinds"][0]),
        (&"nora".into(), &"ingest".into(), &"HUMAN".into())
    );
    // Another one is another one, and none is written over.
    let again = run("", &[&make[..], &["--write", &secret]].concat(), "");
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("cannot be written"), "{}", again.stderr);
    let shown = run("", &make, "").ok();
    let [other, other_line] = shown.lines().collect::<Vec<_>>()[..] else {
        panic!("{shown}")
    };
    assert!(other.starts_with("as_") && other != token);
    assert_ne!(
        serde_json::from_str::<Value>(other_line).unwrap()["sha256"],
        entry["sha256"]
    );

    fs::write(&tokens, format!("# who may call\n{line}")).unwrap();
    let server = Server::start_with(&directory.path().join("store"), &["--tokens-file", &tokens]);
    let refused = server.run(&["list"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("CREDENTIALS_MISSING (UNAUTHENTICATED)"),
        "{}",
        refused.stderr
    );
    server.run(&["health"]).ok();
    let by_file = ["--token-file", &secret];
    server
        .run(&[&["import", PAGE, "--id", "market"][..], &by_file].concat())
        .ok();
    with(
        &server,
        &[("ARTICLE_STORE_TOKEN_FILE", &secret)],
        &["get", "market"],
    )
    .ok();
    let by_variable: &[(&str, &str)] = &[("ARTICLE_STORE_TOKEN", &token)];
    let quiet = with(&server, by_variable, &["get", "market"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
    // This address is the same machine, but not by its name.
    let elsewhere = server.address().replace("127.0.0.1", "0.0.0.0");
    let warned = with(&server, by_variable, &["get", "market", "--server", &elsewhere]);
    assert_eq!(warned.code, Some(0), "{}", warned.stderr);
    assert!(
        warned.stderr.contains("without TLS") && !warned.stderr.contains(&token),
        "{}",
        warned.stderr
    );
    // The file goes before the variable.
    let wrong = with(
        &server,
        &[("ARTICLE_STORE_TOKEN", &token)],
        &["get", "market", "--token-file", &tokens],
    );
    assert!(wrong.stderr.contains("holds no token"), "{}", wrong.stderr);
    let wrong = with(
        &server,
        &[("ARTICLE_STORE_TOKEN", "as_wrong")],
        &["get", "market"],
    );
    assert!(
        wrong.stderr.contains("CREDENTIALS_INVALID (UNAUTHENTICATED)"),
        "{}",
        wrong.stderr
    );
    let lacks = with(&server, &[("ARTICLE_STORE_TOKEN", &token)], &["status"]);
    assert!(
        lacks.stderr.contains("the call needs the scope \"admin\""),
        "{}",
        lacks.stderr
    );
    let absent = server.run(&["list", "--token-file", &path("absent")]);
    assert!(absent.stderr.contains("cannot be read"), "{}", absent.stderr);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("tokens-file=") && !log.contains(&token), "{log}");
}

#[test]
fn what_is_wrong_with_the_files_is_said_before_anything_is_served() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("tokens");
    let path = file.to_str().unwrap();
    let serve = |options: &[&str]| {
        let fixed = ["serve", "--listen", "127.0.0.1:0", "--store", "memory"];
        let done = run("", &[&fixed[..], options].concat(), "");
        assert_eq!(done.code, Some(2), "{}", done.stderr);
        done.stderr
    };
    assert!(serve(&["--tokens-file", path]).contains("No such file"));
    fs::write(&file, "{\"name\":\"nora\"}\n").unwrap();
    assert!(serve(&["--tokens-file", path]).contains("line 1: \"sha256\" or \"certificate\" is required"));
    let jwks = ["--jwks-file", path, "--jwt-issuer", "i", "--jwt-audience", "a"];
    assert!(serve(&jwks).contains("it is no JWKS"));
    fs::write(&file, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}").unwrap();
    assert!(serve(&jwks).contains("it holds no key for RS256, ES256 or EdDSA"));
    assert!(serve(&jwks[..4]).contains("--jwt-audience"));
    assert!(serve(&["--burst-per-principal", "3"]).contains("--rate-per-principal"));
    assert!(serve(&["--rate-per-principal", "0"]).contains("--rate-per-principal"));
    assert!(serve(&["--anonymous-scopes", "translate"]).contains("lacks a language"));
    let made = run("", &["token", "--name", " ", "--scopes", "read"], "");
    assert_eq!(made.code, Some(2));
    let made = run("", &["token", "--name", "x", "--scopes", "write"], "");
    assert!(
        made.stderr.contains("\"write\" is not one of read, ingest"),
        "{}",
        made.stderr
    );
}

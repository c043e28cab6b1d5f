//! A server that others can reach: what it takes to start one, and the client commands over TLS.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::tls::Authority;
use crate::cli::{Server, program, run};

fn serve(options: &[&str]) -> Command {
    let mut command = program("");
    command
        .args(["serve", "--store", "memory", "--listen"])
        .args(options);
    command
}

#[test]
fn listening_for_others_without_tls_or_authentication_needs_leave() {
    for (options, says, says_not) in [
        (
            &["0.0.0.0:0"][..],
            &[
                "--tls-cert",
                "--insecure-no-tls",
                "--insecure-no-auth",
                "127.0.0.1",
            ][..],
            "listening",
        ),
        (
            &["0.0.0.0:0", "--insecure-no-tls"],
            &["--insecure-no-auth", "--tokens-file"],
            "--insecure-no-tls",
        ),
        (
            &["[::]:0", "--insecure-no-auth"],
            &["others can reach [::]:0", "--insecure-no-tls"],
            "--insecure-no-auth",
        ),
    ] {
        let output = serve(options).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), output.stdout),
            (Some(2), vec![]),
            "{error}"
        );
        for word in says {
            assert!(error.contains(word), "{word} is not in {error}");
        }
        assert!(!error.contains(says_not), "{error}");
    }
}

#[test]
fn with_leave_it_listens_for_others_and_warns() {
    let mut command = serve(&["0.0.0.0:0", "--log-format", "json"]);
    // As flags can be given too.
    command
        .env("ARTICLE_STORE_INSECURE_NO_TLS", "true")
        .env("ARTICLE_STORE_INSECURE_NO_AUTH", "true");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port = line.trim_end().rsplit_once(':').unwrap().1;
    let health = run(&format!("http://127.0.0.1:{port}"), &["health"], "");
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(health.ok(), "serving\n");
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("goes over the network in the clear"), "{log}");
    assert!(log.contains("everyone who does may do everything"), "{log}");
}

#[test]
fn the_client_commands_speak_tls() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (ca, desk) = (Authority::new("CA"), Authority::new("clients"));
    fs::write(path("ca.pem"), ca.pem()).unwrap();
    fs::write(path("clients.pem"), desk.pem()).unwrap();
    ca.issue(&["localhost"])
        .write(&path("server.pem"), &path("server.key"));
    desk.issue(&["desk"]).write(&path("desk.pem"), &path("desk.key"));
    let files = [
        "--tls-cert",
        &path("server.pem"),
        "--tls-key",
        &path("server.key"),
    ];
    let server = Server::start_with(&directory.path().join("store"), &files);
    let port = server.address().rsplit_once(':').unwrap().1;
    let address = format!("https://localhost:{port}");

    let trusted = ["--tls-ca", &path("ca.pem")];
    assert_eq!(
        run(&address, &[&["health"][..], &trusted].concat(), "").ok(),
        "serving\n"
    );
    let list = run(
        &format!("localhost:{port}"),
        &[&["list"][..], &trusted].concat(),
        "",
    );
    list.ok();
    // The address is not a name of the certificate.
    let by_number = format!("https://127.0.0.1:{port}");
    let wrong = run(&by_number, &[&["health"][..], &trusted].concat(), "");
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("not valid for name"), "{}", wrong.stderr);
    let named = [&["health", "--tls-server-name", "localhost"][..], &trusted].concat();
    assert_eq!(run(&by_number, &named, "").ok(), "serving\n");

    let unknown = run(&address, &["health"], "");
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("UnknownIssuer"), "{}", unknown.stderr);
    let clear = run(&format!("http://localhost:{port}"), &["health"], "");
    assert_eq!(clear.code, Some(1));
    let contrary = run(
        &format!("http://localhost:{port}"),
        &[&["health"][..], &trusted].concat(),
        "",
    );
    assert_eq!(contrary.code, Some(2));
    assert!(
        contrary.stderr.contains(&format!("https://localhost:{port}")),
        "{}",
        contrary.stderr
    );
    let missing = run(&address, &["health", "--tls-ca", &path("absent.pem")], "");
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("absent.pem cannot be read"),
        "{}",
        missing.stderr
    );
    drop(server);

    let clients = path("clients.pem");
    let required = [&files[..], &["--tls-client-ca", &clients]].concat();
    let server = Server::start_with(&directory.path().join("store"), &required);
    let address = format!(
        "https://localhost:{}",
        server.address().rsplit_once(':').unwrap().1
    );
    let nobody = run(&address, &[&["health"][..], &trusted].concat(), "");
    assert_eq!(nobody.code, Some(1), "{}", nobody.stdout);
    let shown = [
        "--tls-client-cert",
        &path("desk.pem"),
        "--tls-client-key",
        &path("desk.key"),
    ];
    assert_eq!(
        run(&address, &[&["health"][..], &trusted, &shown].concat(), "").ok(),
        "serving\n"
    );
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let ca = Authority::new("CA");
    ca.issue(&["localhost"]).write(&path("a.pem"), &path("a.key"));
    ca.issue(&["localhost"]).write(&path("b.pem"), &path("b.key"));
    fs::write(path("empty"), "").unwrap();
    for (certificate, key, says) in [
        ("absent", "a.key", "absent cannot be read: No such file"),
        (
            "empty",
            "a.key",
            "empty has no usable certificate: no such section",
        ),
        (
            "a.pem",
            "empty",
            "empty has no usable private key: no such section",
        ),
        ("a.pem", "b.key", "a.pem and "),
        ("a.key", "a.key", "a.key has no usable certificate"),
    ] {
        let output = serve(&[
            "127.0.0.1:0",
            "--tls-cert",
            &path(certificate),
            "--tls-key",
            &path(key),
        ])
        .output()
        .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(says), "{says:?} is not in {error}");
    }
    let output = serve(&["127.0.0.1:0", "--tls-cert", &path("a.pem")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

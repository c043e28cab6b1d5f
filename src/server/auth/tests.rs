//! The gate without a network around it: certificates, time, and what it leaves for those further in.

use std::fs;

use serde_json::json;
use tempfile::TempDir;
use tonic::Code;

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::domain::access::Right;
use crate::server::methods;

const PATH: &str = "/articlestore.v1.ArticleService/GetArticle";
const START: i64 = 1_700_000_000_000_000;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn line(name: &str, token: &str) -> String {
    let hash: String = Sha256::digest(token)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({ "name": name, "sha256": hash, "scopes": ["read"] }).to_string()
}

fn gate(lines: &[String], clock: impl Clock) -> (Gate, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    fs::write(&path, lines.join("\n")).unwrap();
    let config = Config {
        tokens_file: Some(path),
        ..Config::default()
    };
    (Gate::open(&config, Arc::new(clock)).unwrap(), directory)
}

fn with_token(token: &str) -> HeaderMap {
    [(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())]
        .into_iter()
        .collect()
}

/// The callers that are admitted.
fn admitted(gate: &Gate, headers: &HeaderMap, mut extensions: Extensions) -> Result<String, Code> {
    gate.admit(methods::at(PATH), headers, &mut extensions)
        .map_err(|status| status.code())?;
    let Caller(principal) = extensions.remove().unwrap();
    Ok(principal.actor.principal.clone())
}

#[test]
fn a_certificate_is_its_principal_unless_a_token_says_otherwise() {
    let worker =
        json!({ "name": "worker", "certificate": "worker.internal", "scopes": ["read"] }).to_string();
    let (gate, _directory) = gate(&[line("nora", "n"), worker], SystemClock);
    let holding = |names: &[&str]| {
        let mut extensions = Extensions::new();
        extensions.insert(Arc::new(PeerCertificate {
            dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..PeerCertificate::default()
        }));
        extensions
    };
    let nothing = HeaderMap::new();
    let named = || holding(&["CN of it", "worker.internal"]);
    assert_eq!(admitted(&gate, &nothing, named()), Ok("worker".into()));
    assert_eq!(admitted(&gate, &with_token("n"), named()), Ok("nora".into()));
    // Credentials that are wrong are not mended by others that are right.
    assert_eq!(
        admitted(&gate, &with_token("x"), named()),
        Err(Code::Unauthenticated)
    );
    for names in [&["worker.internal.example"][..], &[]] {
        assert_eq!(
            admitted(&gate, &nothing, holding(names)),
            Err(Code::Unauthenticated)
        );
    }
}

#[test]
fn a_token_is_good_until_it_expires() {
    let clock = ManualClock::at(at(START));
    let mut expiring: serde_json::Value = serde_json::from_str(&line("nora", "n")).unwrap();
    expiring["expires"] = "2023-11-14T22:13:21Z".into();
    let (gate, _directory) = gate(&[expiring.to_string()], clock.clone());
    let headers = with_token("n");
    assert_eq!(admitted(&gate, &headers, Extensions::new()), Ok("nora".into()));
    clock.set(at(START + 999_999));
    assert_eq!(admitted(&gate, &headers, Extensions::new()), Ok("nora".into()));
    clock.set(at(START + 1_000_000));
    assert_eq!(
        admitted(&gate, &headers, Extensions::new()),
        Err(Code::Unauthenticated)
    );
}

#[test]
fn those_further_in_learn_who_calls() {
    let (gate, _directory) = gate(&[line("nora", "n")], SystemClock);
    let context = Arc::new(CallContext::new("r1".into()));
    let mut extensions = Extensions::new();
    extensions.insert(context.clone());
    gate.admit(methods::at(PATH), &with_token("n"), &mut extensions)
        .unwrap();
    assert_eq!(context.principal(), Some("nora"));
    assert!(extensions.get::<Caller>().unwrap().0.scopes.grant(Right::Read));
    // Also of a call that is refused.
    let context = Arc::new(CallContext::new("r2".into()));
    let mut extensions = Extensions::new();
    extensions.insert(context.clone());
    let refused = gate.admit(
        methods::at("/articlestore.v1.AdminService/GetStatus"),
        &with_token("n"),
        &mut extensions,
    );
    assert_eq!(refused.err().unwrap().code(), Code::PermissionDenied);
    assert_eq!(context.principal(), Some("nora"));
    assert!(extensions.get::<Caller>().is_none());
}

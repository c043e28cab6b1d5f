//! `token`: a new random token, and the line that makes it known to a server.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::choices::AgentKind as KindArg;
use super::output::Printer;
use super::{Failure, json};
use crate::domain::access::{Principal, Scope};
use crate::domain::provenance::AgentKind;
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
The server keeps the SHA-256 of a token and not the token: it is shown once. A plain hash is enough, for the token has 244 \
random bits.

Examples:
  article-store token --name desk --scopes 'read,review:*,publish:*' --agent-kinds human --write desk.token >> tokens.jsonl
  article-store token --name apertium --scopes 'translate:es' --agent-kinds mt --write mt.token >> tokens.jsonl
  article-store serve --tokens-file tokens.jsonl
  article-store list --token-file desk.token")]
pub(crate) struct Token {
    /// The name of the principal. It stands in provenance, changes and logs.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The scopes, separated by commas: read, ingest, translate:LANGUAGE, review:LANGUAGE, publish:LANGUAGE, admin,
    /// embargoed, editorial, act_as; LANGUAGE may be *, and * alone is everything.
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true, value_parser = scope)]
    scopes: Vec<Scope>,
    /// The kinds of agents that it may declare [default: none].
    #[arg(long, value_enum, value_name = "KINDS", value_delimiter = ',')]
    agent_kinds: Vec<KindArg>,
    /// The time of expiry, such as 2027-01-31T00:00:00Z [default: none].
    #[arg(long, value_name = "TIME")]
    expires: Option<jiff::Timestamp>,
    /// The rate limit in calls a second [default: --rate-per-principal of the server].
    #[arg(long, value_name = "NUMBER")]
    rate: Option<std::num::NonZeroU32>,
    /// Write the token to this new file, which only its owner may read, and print the line for the server alone. Without
    /// it the token is printed first.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Token {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let scopes = self.scopes.iter().cloned().collect();
        Principal::verified(&self.name, scopes, Vec::new())
            .map_err(|invalid| Failure::Usage(format!("--name: {}", invalid.0)))?;
        let token = new_token();
        let line = self.line(&token);
        let mut printer = Printer::new();
        match &self.write {
            Some(path) => write_secret(path, &token)
                .map_err(|error| Failure::failed(format!("{} cannot be written: {error}", path.display())))?,
            None => printer.line(&token)?,
        }
        printer.line(&json::line(&line))?;
        printer.flush()
    }

    fn line(&self, token: &str) -> Value {
        let hash = Sha256::digest(token);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let scopes: Vec<_> = self.scopes.iter().map(Scope::to_string).collect();
        let kinds: Vec<_> = self.agent_kinds.iter().map(|kind| kind_name(*kind)).collect();
        let mut line = json!({ "name": self.name, "sha256": hex, "scopes": scopes, "agent_kinds": kinds });
        if let Some(fields) = line.as_object_mut() {
            let expires = self
                .expires
                .map(|time| ("expires".to_owned(), json!(time.to_string())));
            let rate = self.rate.map(|rate| ("rate".to_owned(), json!(rate)));
            fields.extend(expires.into_iter().chain(rate));
        }
        line
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).map_err(|invalid| invalid.0)
}

/// The name that the tokens file has for a kind.
fn kind_name(kind: KindArg) -> &'static str {
    let kind = match pb::AgentKind::from(kind) {
        pb::AgentKind::Human => AgentKind::Human,
        pb::AgentKind::Mt => AgentKind::Mt,
        pb::AgentKind::Llm => AgentKind::Llm,
        pb::AgentKind::Tm => AgentKind::Tm,
        pb::AgentKind::Rule => AgentKind::Rule,
        pb::AgentKind::Import | pb::AgentKind::Unspecified => AgentKind::Import,
    };
    kind.name()
}

/// Two UUIDs have 244 random bits. The prefix lets scanners for secrets know it.
fn new_token() -> String {
    let bytes = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    format!("as_{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Creates the file; an existing one may hold a token in use.
fn write_secret(path: &Path, token: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{token}")?;
    file.sync_all()
}

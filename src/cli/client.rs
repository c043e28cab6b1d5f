//! What all client commands share: the connection, the form of their output, and the words for a failed call.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use prost::Message;
use serde_json::Value;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_types::StatusExt;

use self::tls::TlsArgs;
use super::credentials::Credentials;
use super::{Failure, json, terminal, warn};
use crate::api::error::code_name;
use crate::pb::admin_service_client::AdminServiceClient;
use crate::pb::article_service_client::ArticleServiceClient;
use crate::pb::change_service_client::ChangeServiceClient;
use crate::pb::translation_job_service_client::TranslationJobServiceClient;
use crate::pb::translation_service_client::TranslationServiceClient;

mod tls;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Frames and windows of HTTP/2: its defaults of 16 and 64 KiB make long streams wait.
const FRAME_BYTES: u32 = 1 << 20;
const WINDOW_BYTES: u32 = 8 << 20;
/// The largest answer that is read. The server's pages end at 3 MiB, but how large an article may be is its own choice.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where the help lists what all client commands have.
const HEADING: &str = "Common options";

/// Which server to talk to.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// The server's address; `https://` speaks TLS.
    #[arg(long, help_heading = HEADING, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    pub(crate) server: String,
    /// The file with the token to call with; without one the variable ARTICLE_STORE_TOKEN holds it, if there is one.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// A connection that calls with a token.
pub(crate) type Connection = InterceptedService<Channel, Credentials>;

impl ServerArgs {
    pub(crate) async fn articles(&self) -> Result<ArticleServiceClient<Connection>, Failure> {
        let client = ArticleServiceClient::new(self.connect().await?);
        Ok(client.max_decoding_message_size(MAX_ANSWER_BYTES))
    }

    pub(crate) async fn translations(&self) -> Result<TranslationServiceClient<Connection>, Failure> {
        let client = TranslationServiceClient::new(self.connect().await?);
        Ok(client.max_decoding_message_size(MAX_ANSWER_BYTES))
    }

    pub(crate) async fn jobs(&self) -> Result<TranslationJobServiceClient<Connection>, Failure> {
        let client = TranslationJobServiceClient::new(self.connect().await?);
        Ok(client.max_decoding_message_size(MAX_ANSWER_BYTES))
    }

    pub(crate) async fn changes(&self) -> Result<ChangeServiceClient<Connection>, Failure> {
        Ok(ChangeServiceClient::new(self.connect().await?))
    }

    pub(crate) async fn admin(&self) -> Result<AdminServiceClient<Connection>, Failure> {
        Ok(AdminServiceClient::new(self.connect().await?))
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let credentials = Credentials::new(self.token_file.clone())?;
        let address = self.address()?;
        if credentials.is_given() && is_open_to_others(&address) {
            warn(&format!(
                "the token goes to {address} without TLS, and whoever is on the way can read it; use https://"
            ));
        }
        Ok(InterceptedService::new(self.channel().await?, credentials))
    }

    /// The address with a scheme. TLS is spoken where it is asked for: options of it that would have no effect are an error.
    fn address(&self) -> Result<String, Failure> {
        let is_secure = self.tls.is_wanted();
        match self.server.split_once("://") {
            None if is_secure => Ok(format!("https://{}", self.server)),
            None => Ok(format!("http://{}", self.server)),
            Some((scheme, rest)) if is_secure && scheme != "https" => Err(Failure::Usage(format!(
                "{} speaks no TLS, but options for TLS are given; did you mean https://{rest}?",
                self.server
            ))),
            Some(_) => Ok(self.server.clone()),
        }
    }

    /// A connection without a token.
    pub(crate) async fn channel(&self) -> Result<Channel, Failure> {
        let address = self.address()?;
        let unusable = || Failure::Usage(format!("{address:?} is not the address of a server"));
        let mut endpoint = Endpoint::from_shared(address.clone()).map_err(|_| unusable())?;
        if endpoint.uri().scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(self.tls.config()?).map_err(|error| {
                Failure::failed(format!("the files for TLS cannot be used: {}", innermost(&error)))
            })?;
        }
        endpoint
            .connect_timeout(CONNECT_LIMIT)
            .max_frame_size(FRAME_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(2 * WINDOW_BYTES)
            .connect()
            .await
            .map_err(|error| {
                Failure::failed(format!(
                    "no server answers at {address}: {}\nstart one with `article-store serve`, or name another with \
                     --server or ARTICLE_STORE_SERVER",
                    innermost(&error)
                ))
            })
    }
}

/// Whether what goes to an address leaves this machine without TLS.
fn is_open_to_others(address: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() != Some("https") && !is_local
}

/// How to print answers.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// The form of the output: for people, or one JSON object a line (the proto3 JSON mapping).
    #[arg(long, help_heading = HEADING, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// See [`OutputArgs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Standard output, buffered. A reader that went away ends the command without a complaint.
pub(crate) struct Printer(BufWriter<io::Stdout>);

impl Printer {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout()))
    }

    /// Prints a text that is safe for terminals.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.0
            .write_all(text.as_bytes())
            .map_err(|error| Failure::from_output(&error))
    }

    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.text(line)?;
        self.text("\n")
    }

    pub(crate) fn message(&mut self, name: &str, message: &impl Message) -> Result<(), Failure> {
        self.json(&json::value(name, message)?)
    }

    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&json::line(value))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| Failure::from_output(&error))
    }
}

/// The words for a failed call: what the server says, the fields to blame one a line, and the reason for programs.
pub(crate) fn explain(status: &Status) -> String {
    let mut text = match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    };
    if let Some(source) = status.source() {
        let _ = write!(text, ": {}", innermost(source));
    }
    let details = status.get_error_details();
    let violations = details.bad_request().map_or(&[][..], |bad| &bad.field_violations);
    for violation in violations {
        let line = format!("{}: {}", violation.field, violation.description);
        if line != status.message() {
            let _ = write!(text, "\n  {line}");
        }
    }
    let code = code_name(status.code());
    match details.error_info() {
        Some(info) => {
            let _ = write!(text, "\n  reason {} ({code})", info.reason);
        }
        None => {
            let _ = write!(text, "\n  {code}");
        }
    }
    text
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::failed(explain(&status))
    }
}

/// The error at the bottom, which says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    terminal::line(&error.to_string())
}

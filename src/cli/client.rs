//! The connection of the client commands: address, credentials, limits of time, and the texts of errors.

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use self::tls::TlsArgs;
use super::credentials::Credentials;
use super::duration::duration;
use super::{Failure, terminal, warn};
use crate::api::status::code_name;
use crate::pb::admin_service_client::AdminServiceClient;
use crate::pb::article_service_client::ArticleServiceClient;
use crate::pb::change_service_client::ChangeServiceClient;
use crate::pb::translation_job_service_client::TranslationJobServiceClient;
use crate::pb::translation_service_client::TranslationServiceClient;

mod probe;
mod tls;

/// How long connecting may take, with TLS and the first answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The keepalive: a connection that is silent for this time is pinged, and closed if the answer takes as long again.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// Frames and windows of HTTP/2: its defaults of 16 and 64 KiB make long streams wait.
const FRAME_BYTES: u32 = 1 << 20;
const WINDOW_BYTES: u32 = 8 << 20;
/// The largest answer that is read. The server's pages end at 3 MiB, but how large an article may be is its own choice.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// The heading of the help for the options of all client commands.
pub(crate) const HEADING: &str = "Common options";

/// The server, and how to connect to it.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// The server's address. `https://` is TLS; without a scheme it is `http://`.
    #[arg(long, help_heading = HEADING, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    pub(crate) server: String,
    /// The file with the token to call with [default: the token in the variable ARTICLE_STORE_TOKEN, if it is set].
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How long the answer to a call may take to begin, such as 30s or 2m. Connecting is given 5s of it.
    #[arg(long, help_heading = HEADING, value_name = "TIME", default_value = "90s", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    tls: TlsArgs,
}

/// A connection that calls with a token.
pub(crate) type Connection = InterceptedService<Channel, Credentials>;

macro_rules! clients {
    ($($name:ident $client:ident,)*) => {
        impl ServerArgs {
            $(pub(crate) async fn $name(&self) -> Result<$client<Connection>, Failure> {
                let client = $client::new(self.connect().await?);
                Ok(client.max_decoding_message_size(MAX_ANSWER_BYTES))
            })*
        }
    };
}

clients! {
    articles ArticleServiceClient,
    translations TranslationServiceClient,
    jobs TranslationJobServiceClient,
    changes ChangeServiceClient,
    admin AdminServiceClient,
}

impl ServerArgs {
    async fn connect(&self) -> Result<Connection, Failure> {
        let credentials = Credentials::new(self.token_file.clone())?;
        let address = self.address()?;
        if credentials.is_given() && is_open_to_others(&address) {
            warn(&format!(
                "the token goes to {address} without TLS, and everybody on the way can read it; use https://"
            ));
        }
        Ok(InterceptedService::new(self.channel().await?, credentials))
    }

    /// The address with a scheme. Options of TLS that would have no effect are an error.
    fn address(&self) -> Result<String, Failure> {
        let is_secure = self.tls.is_wanted();
        match self.server.split_once("://") {
            None if is_secure => Ok(format!("https://{}", self.server)),
            None => Ok(format!("http://{}", self.server)),
            Some(("http", rest)) if is_secure => Err(Failure::Usage(format!(
                "{} is without TLS, but options for TLS are given; did you mean https://{rest}?",
                self.server
            ))),
            Some(("http" | "https", _)) => Ok(self.server.clone()),
            Some((scheme, _)) => Err(Failure::Usage(format!(
                "--server {:?} has the scheme {scheme:?}, and only http:// and https:// (TLS) are supported",
                self.server
            ))),
        }
    }

    /// A connection without a token, to something that speaks HTTP/2.
    pub(crate) async fn channel(&self) -> Result<Channel, Failure> {
        let address = self.address()?;
        let unusable = || Failure::Usage(format!("{address:?} is not the address of a server"));
        let mut endpoint = Endpoint::from_shared(address.clone()).map_err(|_| unusable())?;
        if endpoint.uri().scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(self.tls.config()?).map_err(|error| {
                Failure::failed(format!("the files for TLS cannot be used: {}", innermost(&error)))
            })?;
        }
        let endpoint = endpoint
            .timeout(self.timeout)
            .http2_keep_alive_interval(SILENCE_LIMIT)
            .keep_alive_timeout(SILENCE_LIMIT)
            .max_frame_size(FRAME_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(2 * WINDOW_BYTES);
        probe::connect(&endpoint, &address, CONNECT_LIMIT.min(self.timeout)).await
    }
}

/// Whether an address is on another machine and without TLS.
fn is_open_to_others(address: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() != Some("https") && !is_local
}

/// The error of an answer that lacks its message.
pub(crate) fn without_content() -> Failure {
    Failure::failed("the server's answer is empty")
}

/// The text for a failed call: the server's message, the wrong fields one a line, and the reason for programs.
pub(crate) fn explain(status: &Status) -> String {
    let mut text = match (status.message(), status.code()) {
        ("", Code::Unimplemented) => {
            "the server does not know this call: it is another kind of server, or an older one".into()
        }
        ("", code) => code.description().to_owned(),
        // The text of tonic's client when its timeout ends.
        ("Timeout expired", Code::Cancelled) => "the server did not answer in time (--timeout)".into(),
        (message, _) => message.to_owned(),
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

/// The innermost error of a chain, as text.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    terminal::line(&error.to_string())
}

//! `health`: whether the server is serving. The container's health check.

use std::time::Duration;

use clap::Args;
use tokio::time::timeout;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Failure;
use super::client::{Output, OutputArgs, Printer, ServerArgs};

/// The arguments of `health`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exits with 0 if the server is serving and with 1 if it is not, or does not answer in time.

Example:
  article-store health --server http://10.0.0.7:50051")]
pub(crate) struct Health {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// How long to wait for the answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    timeout_seconds: u64,
}

impl Health {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let limit = Duration::from_secs(self.timeout_seconds);
        let status = timeout(limit, self.ask()).await.map_err(|_| {
            Failure::failed(format!(
                "the server at {} did not answer within {} s",
                self.server.server, self.timeout_seconds
            ))
        })??;
        let mut printer = Printer::new();
        match self.output.output {
            Output::Json => printer.json(&serde_json::json!({ "status": status.as_str_name() }))?,
            Output::Table => printer.line(&super::words::word(status.as_str_name(), ""))?,
        }
        printer.flush()?;
        match status {
            ServingStatus::Serving => Ok(()),
            _ => Err(Failure::Said),
        }
    }

    async fn ask(&self) -> Result<ServingStatus, Failure> {
        let mut client = HealthClient::new(self.server.channel().await?);
        let answer = client.check(HealthCheckRequest::default()).await?;
        Ok(answer.into_inner().status())
    }
}

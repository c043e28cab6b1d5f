//! `health`: whether the server is serving. The container's health check.

use clap::Args;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Failure;
use super::client::ServerArgs;
use super::output::{Output, OutputArgs, Printer};

/// The arguments of `health`.
#[derive(Debug, Args)]
#[command(mut_arg("timeout", |arg| arg.default_value("2s")), after_help = "\
Exits with 0 if the server is serving and with 1 if it is not, or does not answer in time.

Example:
  article-store health --server http://10.0.0.7:50051")]
pub(crate) struct Health {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Health {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let status = self.ask().await?;
        let mut printer = Printer::new();
        match self.output.output {
            Output::Json => printer.json(&serde_json::json!({ "status": status.as_str_name() }))?,
            Output::Table => printer.line(&super::format::word(status.as_str_name(), ""))?,
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

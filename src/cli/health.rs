//! `health`: whether the server is serving. The container's health check.

use clap::Args;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Failure;
use super::common_args::CommonArgs;
use super::output::{Output, Printer};
use crate::server::health::WRITES;

#[derive(Debug, Args)]
#[command(mut_arg("timeout", |arg| arg.default_value("2s")), after_help = "\
Exits with 0 if the server is serving and with 1 if it is not, or does not answer in time.

Example:
  article-store health --server http://10.0.0.7:50051")]
pub(crate) struct Health {
    #[command(flatten)]
    common: CommonArgs,
}

impl Health {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (status, writes) = self.ask().await?;
        let mut printer = Printer::new();
        match self.common.output.output {
            Output::Json => printer.json(&serde_json::json!({
                "status": status.as_str_name(),
                "writes": writes.as_str_name(),
            }))?,
            Output::Table => {
                let mut line = super::format::word(status.as_str_name(), "");
                if status == ServingStatus::Serving && writes == ServingStatus::NotServing {
                    line.push_str(
                        " reads; writes are refused for lack of free space (serve --min-free-bytes)",
                    );
                }
                printer.line(&line)?;
            }
        }
        printer.flush()?;
        match status {
            ServingStatus::Serving => Ok(()),
            _ => Err(Failure::Reported),
        }
    }

    /// Whether the server serves, and whether it accepts writes, which servers of other versions may not say.
    async fn ask(&self) -> Result<(ServingStatus, ServingStatus), Failure> {
        let mut client = HealthClient::new(self.common.server.channel().await?);
        let answer = client.check(HealthCheckRequest::default()).await?;
        let service = WRITES.to_owned();
        let writes = match client.check(HealthCheckRequest { service }).await {
            Ok(writes) => writes.into_inner().status(),
            Err(_) => ServingStatus::ServiceUnknown,
        };
        Ok((answer.into_inner().status(), writes))
    }
}

//! Metrics, probes and traces.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;

use super::listen::listen_address;
use crate::cli::Failure;
use crate::domain::language::Language;
use crate::server::telemetry::{Telemetry, http};

/// See the module's page.
#[derive(Debug, Clone, Args)]
pub(super) struct TelemetryArgs {
    /// The address of `/metrics` (Prometheus), `/livez`, `/readyz` and gRPC health, such as 127.0.0.1:9464 [default:
    /// none]. It has neither TLS nor authentication: expose it to operators only.
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    metrics_listen: Option<SocketAddr>,
    /// The languages that are labels of metrics, such as ar,en,fr; others are `other`. Each pair is a time series.
    #[arg(long, value_name = "LANGUAGES", value_delimiter = ',', value_parser = language)]
    metrics_languages: Vec<Language>,
    /// The OTLP collector (gRPC) for traces, such as http://localhost:4317 [default: none].
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// The share of traces to record, from 0 to 1, of those that begin here. `traceparent` of a caller decides for
    /// its own.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    otlp_sample_ratio: f64,
}

impl TelemetryArgs {
    /// The telemetry of the server.
    pub(super) fn telemetry(&self) -> Arc<Telemetry> {
        Arc::new(Telemetry::new(self.metrics_languages.iter().cloned().collect()))
    }

    /// Serves metrics and probes, if `--metrics-listen` is given.
    pub(super) async fn serve(&self, telemetry: &Arc<Telemetry>) -> Result<(), Failure> {
        let Some(address) = self.metrics_listen else {
            return Ok(());
        };
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let advice = "choose another address with --metrics-listen";
            Failure::failed(format!("cannot listen on {address}: {error}; {advice}"))
        })?;
        let address = listener.local_addr().unwrap_or(address);
        tracing::info!(%address, "serving metrics");
        drop(writeln!(io::stdout(), "metrics on http://{address}/metrics"));
        // It ends with the process.
        tokio::spawn(http::serve(listener, telemetry.clone()));
        Ok(())
    }
}

#[cfg(feature = "otlp")]
impl TelemetryArgs {
    /// Starts to send traces, if `--otlp-endpoint` is given; called on the runtime of the server.
    pub(super) fn traces(&self) -> Result<Option<Traces>, Failure> {
        use crate::server::telemetry::trace::{Collector, Exporter};
        let Some(endpoint) = self.otlp_endpoint.clone() else {
            return Ok(None);
        };
        let ratio = self.otlp_sample_ratio;
        let started = Exporter::start(&Collector { endpoint, ratio });
        let exporter = started.map_err(|error| Failure::Usage(format!("--otlp-endpoint: {error}")))?;
        Ok(Some(exporter))
    }
}

#[cfg(feature = "otlp")]
pub(super) type Traces = crate::server::telemetry::trace::Exporter;

#[cfg(not(feature = "otlp"))]
impl TelemetryArgs {
    /// Refuses `--otlp-endpoint`: this program is built without traces.
    pub(super) fn traces(&self) -> Result<Option<Traces>, Failure> {
        match &self.otlp_endpoint {
            None => Ok(None),
            Some(_) => Err(Failure::Usage(
                "--otlp-endpoint: this program was built without traces (cargo feature `otlp`)".into(),
            )),
        }
    }
}

/// There are none.
#[cfg(not(feature = "otlp"))]
pub(super) enum Traces {}

#[cfg(not(feature = "otlp"))]
impl Traces {
    pub(super) fn layer(&self) -> tracing_subscriber::layer::Identity {
        match *self {}
    }

    pub(super) fn stop(self) {
        match self {}
    }
}

fn language(tag: &str) -> Result<Language, String> {
    Language::parse(tag).map_err(|error| error.to_string())
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(format!("{text} is not from 0 to 1"))
    }
}

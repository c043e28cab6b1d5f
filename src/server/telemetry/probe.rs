//! `grpc.health.v1` on the port of metrics, where no TLS is spoken: for probes that speak gRPC and no TLS, as those of
//! Kubernetes do. It answers whether calls should be sent here, as `/readyz` does.

use std::sync::Arc;

use futures::stream::Empty;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Telemetry;

/// See the module's page.
pub(super) struct Probe(pub(super) Arc<Telemetry>);

#[tonic::async_trait]
impl Health for Probe {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !request.get_ref().service.is_empty() {
            return Err(Status::not_found(
                "only the server as a whole is known here; leave the service empty",
            ));
        }
        let status = match self.0.readiness().serves() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch health at the address of the API"))
    }
}

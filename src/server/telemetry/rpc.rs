//! Metrics of calls. One histogram by method and code gives number, duration and outcome.

use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tonic::Code;

use crate::api::status::code_name;
use crate::server::methods::{Kind, Method};

/// Seconds of a call, from a cached read to a stream of some minutes.
const SECONDS: [f64; 16] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0,
];

type ByMethodAndCode = [(&'static str, &'static str); 2];
type ByKind = [(&'static str, &'static str); 1];

/// See the module's page.
#[derive(Debug)]
pub struct Rpcs {
    seconds: Family<ByMethodAndCode, Histogram, fn() -> Histogram>,
    in_flight: [Gauge; 3],
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

/// The label of a kind of calls.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Short => "short",
        Kind::Long => "long",
        Kind::Exempt => "exempt",
    }
}

impl Rpcs {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register(
            "rpc_duration_seconds",
            "Time from the first header of a call to its status, by method and code",
            seconds.clone(),
        );
        let in_flight = Family::<ByKind, Gauge>::default();
        registry.register(
            "rpcs_in_flight",
            "Calls that go on: short ones, long ones (streams and claims), health and reflection (exempt)",
            in_flight.clone(),
        );
        let kinds = [Kind::Short, Kind::Long, Kind::Exempt];
        Self {
            seconds,
            in_flight: kinds.map(|kind| in_flight.get_or_create_owned(&[("kind", kind_name(kind))])),
        }
    }

    fn in_flight(&self, method: &Method) -> &Gauge {
        let [short, long, exempt] = &self.in_flight;
        match method.kind {
            Kind::Short => short,
            Kind::Long => long,
            Kind::Exempt => exempt,
        }
    }

    /// Calls that run, except those to health and reflection.
    pub fn running(&self) -> i64 {
        let [short, long, _] = &self.in_flight;
        short.get() + long.get()
    }

    /// A call began.
    pub fn began(&self, method: &'static Method) {
        self.in_flight(method).inc();
    }

    /// A call ended.
    pub fn ended(&self, method: &'static Method, code: Code, took: Duration) {
        self.in_flight(method).dec();
        let labels = [("method", method.label.as_str()), ("code", code_name(code))];
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

//! Counters of refusals. Plain methods, so that callers need to know nothing of metrics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::rpc::kind_name;
use crate::server::methods::Kind;

type Label = [(&'static str, &'static str); 1];

/// The reason of a refusal for credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthFailure {
    /// It had no credentials, or bad ones.
    Unauthenticated,
    /// Its scopes do not grant the right.
    Forbidden,
}

/// See the module's page.
#[derive(Debug)]
pub struct Counters {
    shed: [Counter; 2],
    auth_failures: [Counter; 2],
    rate_limited: Counter,
}

impl Counters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut labelled = |name: &str, help: &str, key: &'static str, values: [&'static str; 2]| {
            let family = Family::<Label, Counter>::default();
            registry.register(name, help, family.clone());
            values.map(|value| family.get_or_create_owned(&[(key, value)]))
        };
        let shed = labelled(
            "rpcs_shed",
            "Calls that were refused at once because the server had no room for them",
            "kind",
            [Kind::Short, Kind::Long].map(kind_name),
        );
        let auth_failures = labelled(
            "auth_failures",
            "Calls that were refused for their credentials, or for what these do not allow",
            "reason",
            ["unauthenticated", "forbidden"],
        );
        let rate_limited = Counter::default();
        registry.register(
            "rpcs_rate_limited",
            "Calls that were refused because their caller makes too many",
            rate_limited.clone(),
        );
        Self {
            shed,
            auth_failures,
            rate_limited,
        }
    }

    /// A call found no room.
    pub fn shed(&self, kind: Kind) {
        let [short, long] = &self.shed;
        match kind {
            Kind::Long => long.inc(),
            Kind::Short | Kind::Exempt => short.inc(),
        };
    }

    /// A call was refused for its credentials.
    pub fn auth_failed(&self, why: AuthFailure) {
        let [unauthenticated, forbidden] = &self.auth_failures;
        match why {
            AuthFailure::Unauthenticated => unauthenticated.inc(),
            AuthFailure::Forbidden => forbidden.inc(),
        };
    }

    /// A call exceeded the rate limit of its caller.
    pub fn rate_limited(&self) {
        self.rate_limited.inc();
    }
}

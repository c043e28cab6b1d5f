//! The layers that every call passes before its handler, outermost first:
//!
//! 1. [`observe`](super::layers::observe): gives the call its id, and records how it ended.
//! 2. [`panics`](super::layers::panics): answers a panic of a handler to its call alone.
//! 3. [`auth`](super::auth): authenticates the caller, and checks its rights to the method.
//! 4. [`deadline`](super::layers::deadline): ends calls whose time is over.
//! 5. [`admission`](super::layers::admission): receives the message, and refuses what there is no room for.
//!
//! Each takes what it knows of a call from its path and headers; none of them decodes a message.

use std::sync::Arc;

use tower::layer::util::Stack;

use super::auth::GateLayer;
use super::layers::CallLimits;
use super::layers::admission::AdmissionLayer;
use super::layers::deadline::DeadlineLayer;
use super::layers::observe::ObserveLayer;
use super::layers::panics::PanicLayer;
use super::telemetry::Telemetry;

/// All layers of a call; a message has `message_bytes` at most.
pub fn of_calls(
    limits: &CallLimits,
    message_bytes: usize,
    gate: GateLayer,
    telemetry: &Arc<Telemetry>,
) -> Layers {
    let admission = AdmissionLayer::new(limits, message_bytes, telemetry.clone());
    let deadline = DeadlineLayer {
        longest: limits.deadline,
    };
    let outer = Stack::new(PanicLayer, ObserveLayer::new(telemetry.clone()));
    Stack::new(admission, Stack::new(deadline, Stack::new(gate, outer)))
}

/// See [`of_calls`].
pub type Layers =
    Stack<AdmissionLayer, Stack<DeadlineLayer, Stack<GateLayer, Stack<PanicLayer, ObserveLayer>>>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_are_in_order() {
        // Such as `a::Observe<b::Panics<…>>`.
        let stack = std::any::type_name::<<Layers as tower::Layer<()>>::Service>();
        let layers = stack.split('<').map(|name| name.rsplit("::").next().unwrap());
        assert_eq!(
            layers.collect::<Vec<_>>(),
            ["Observe", "Panics", "Gated", "Deadline", "Admission", "()>>>>>"]
        );
    }
}

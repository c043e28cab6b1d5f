//! The locks of [`super::hand_over`], which the model test replaces by those of a model checker.

pub(super) use parking_lot::{Condvar, Mutex};

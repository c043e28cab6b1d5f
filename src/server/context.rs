//! Context of a call: its id, and its principal once that is known. The log adds both to every line of a call.

use std::future::Future;
use std::sync::{Arc, OnceLock};

tokio::task_local! {
    static CURRENT: Arc<CallContext>;
}

/// One call, in the extensions of its HTTP request as an `Arc`. The outermost layer makes it, and those further in fill it.
#[derive(Debug)]
pub struct CallContext {
    /// The caller's `x-request-id`, or one that the server gave.
    pub request_id: Arc<str>,
    principal: OnceLock<Arc<str>>,
}

impl CallContext {
    /// A call whose principal is not known yet.
    pub fn new(request_id: Arc<str>) -> Self {
        Self {
            request_id,
            principal: OnceLock::new(),
        }
    }

    /// Sets the principal; only the first time counts.
    pub fn authenticated(&self, principal: Arc<str>) {
        let _ = self.principal.set(principal);
    }

    /// The name of the principal, if the call was authenticated.
    pub fn principal(&self) -> Option<&str> {
        self.principal.get().map(|name| &**name)
    }

    /// The same, to keep.
    pub(super) fn shared_principal(&self) -> Option<Arc<str>> {
        self.principal.get().cloned()
    }

    /// Work that is done for this call.
    pub(super) fn scope<F: Future>(self: &Arc<Self>, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), work)
    }

    /// A step of such work.
    pub(super) fn step<T>(self: &Arc<Self>, step: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), step)
    }

    /// The call that this task works for, if it works for one.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Clone::clone).ok()
    }
}

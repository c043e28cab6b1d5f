//! Catches panics of handlers and of their streams, so that the call is answered with `INTERNAL` and other calls of the
//! connection are not affected: tonic would close it. The log says where the panic was.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::pin;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

/// The panics of this process, those outside of calls too.
static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread works for a call, which logs the panic itself.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// The location of the last panic.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The number of panics of this process.
pub(in crate::server) fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Installs the panic hook: it counts panics, and logs those outside of calls, if there is a log.
pub(in crate::server) fn hook() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            COUNT.fetch_add(1, Ordering::Relaxed);
            let place = place(info);
            if WATCHED.get() {
                PLACE.replace(place);
            } else if tracing::enabled!(tracing::Level::ERROR) {
                let what = what(info.payload());
                let thread = std::thread::current();
                tracing::error!(place, thread = thread.name(), panic = what, "a thread panicked");
            } else {
                before(info);
            }
        }));
    });
}

/// The location of a panic, with a backtrace if `RUST_BACKTRACE` is set.
fn place(info: &PanicHookInfo<'_>) -> String {
    let mut place = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        let _ = write!(place, "\n{backtrace}");
    }
    place
}

fn what(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("something that is no text")
}

/// Runs a step of a call. A panic is logged, and is `None`.
pub(super) fn watched<T>(step: impl FnOnce() -> T) -> Option<T> {
    let before = WATCHED.replace(true);
    // Nothing of the call is used afterwards.
    let done = panic::catch_unwind(AssertUnwindSafe(step));
    WATCHED.set(before);
    done.inspect_err(|payload| {
        let place = PLACE.take();
        tracing::error!(place, panic = what(&**payload), "a handler panicked");
    })
    .ok()
}

/// Runs the work of a call, step by step.
pub(super) async fn catch<F: Future>(work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    poll_fn(|context| {
        let polled = watched(|| work.as_mut().poll(context));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

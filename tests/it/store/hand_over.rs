//! Model check of the hand-over between writer and syncer: the protocol of `store::kv::hand_over` runs in random orders of
//! its threads under a scheduler that finds a wait that nothing ends (shuttle), with syncs that fail and syncers that panic.
//!
//! The rules that each order must keep: every group gets one answer, or learns that there is none; nothing is acknowledged
//! between a failed sync and the reopening behind it; no sync runs while the engine is reopened; closing ends both threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use shuttle::rand::Rng;
use shuttle::sync::Arc;
use shuttle::thread;

#[path = "../../../src/store/kv/hand_over.rs"]
mod protocol;

/// The locks of the protocol, as the scheduler knows them.
mod sync {
    use shuttle::sync::{self as model, MutexGuard};

    pub(crate) struct Mutex<T>(model::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(model::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            Guard(Some(
                self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()),
            ))
        }
    }

    /// A guard that a condition variable takes and gives back in place, as the real one does.
    pub(crate) struct Guard<'a, T>(Option<MutexGuard<'a, T>>);

    impl<T> std::ops::Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().unwrap()
        }
    }

    impl<T> std::ops::DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().unwrap()
        }
    }

    pub(crate) struct Condvar(model::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(model::Condvar::new())
        }

        pub(crate) fn wait<T>(&self, guard: &mut Guard<'_, T>) {
            let woken = self.0.wait(guard.0.take().unwrap());
            guard.0 = Some(woken.unwrap_or_else(|poisoned| poisoned.into_inner()));
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

use protocol::HandOver;

/// Orders of the threads that are tried.
const ORDERS: usize = 1_500;
const GROUPS: usize = 4;

/// An engine that fails, as the real ones: after a failed sync every sync fails until it is reopened.
#[derive(Default)]
struct Engine {
    has_failed: AtomicBool,
    is_syncing: AtomicBool,
}

impl Engine {
    /// `fails`: this sync is the first to fail.
    fn sync(&self, fails: bool) -> bool {
        assert!(!self.is_syncing.swap(true, Ordering::SeqCst), "two syncs at once");
        thread::yield_now();
        if fails {
            self.has_failed.store(true, Ordering::SeqCst);
        }
        let done = !self.has_failed.load(Ordering::SeqCst);
        self.is_syncing.store(false, Ordering::SeqCst);
        done
    }

    fn reopen(&self) {
        assert!(
            !self.is_syncing.load(Ordering::SeqCst),
            "reopened while a sync runs"
        );
        thread::yield_now();
        assert!(
            !self.is_syncing.load(Ordering::SeqCst),
            "a sync began while it is reopened"
        );
        self.has_failed.store(false, Ordering::SeqCst);
    }
}

/// A group, whose callers get one answer; being dropped is one.
struct Group {
    fails: bool,
    answers: Arc<AtomicU32>,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.answers.fetch_add(1, Ordering::SeqCst);
    }
}

fn one_order(may_panic: bool) {
    let engine = Arc::new(Engine::default());
    let hand_over = Arc::new(HandOver::<Group>::new());
    let answers = Arc::new(AtomicU32::new(0));
    let panicking = may_panic && shuttle::rand::thread_rng().gen_bool(0.5);
    let syncer = {
        let (engine, hand_over) = (engine.clone(), hand_over.clone());
        thread::spawn(move || {
            let run = || {
                hand_over.sync_each(|group: Group| {
                    if panicking && group.fails {
                        std::panic::resume_unwind(Box::new("it was to panic"));
                    }
                    engine.sync(group.fails)
                });
            };
            drop(catch_unwind(AssertUnwindSafe(run)));
        })
    };
    for _ in 0..GROUPS {
        let mut random = shuttle::rand::thread_rng();
        let group = Group {
            fails: random.gen_bool(0.3),
            answers: answers.clone(),
        };
        let inline = random.gen_bool(0.3) && hand_over.is_idle();
        let group = if inline {
            Some(group)
        } else {
            hand_over.put(group).err()
        };
        let done = group.is_none_or(|group| engine.sync(group.fails));
        if !done || random.gen_bool(0.2) {
            let failed = hand_over.settle();
            let known = failed || !done;
            assert!(
                known || !engine.has_failed.load(Ordering::SeqCst),
                "a failed sync is not known"
            );
            engine.reopen();
        }
    }
    hand_over.settle();
    hand_over.close();
    syncer.join().unwrap();
    assert_eq!(answers.load(Ordering::SeqCst), GROUPS as u32);
}

#[test]
fn no_order_of_writer_and_syncer_hangs_or_hides_a_failed_sync() {
    shuttle::check_random(|| one_order(false), ORDERS);
    shuttle::check_pct(|| one_order(false), ORDERS, 3);
}

#[test]
fn a_syncer_that_panics_leaves_nobody_waiting() {
    shuttle::check_random(|| one_order(true), ORDERS);
}

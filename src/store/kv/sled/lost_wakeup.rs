//! Works around a lost wake-up of sled 0.34.7, which would leave a `flush` waiting indefinitely.
//!
//! Threads that wait until a part of sled's log is written are to be notified when an I/O thread cannot write it.
//! `Log::exit_reservation` stores the error without a notification, and the manifest of each batch is written from there. A
//! `flush` that waits at that moment never ends, unless some read of a page meets the error, and with it no later write and
//! no reopening. So one thread per database looks for a stored error, and has sled notify all
//! waiters, which then return the error.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ::sled::Db;

use super::fault::{Outcome, contain};

/// How often the thread looks: the longest that a lost wake-up holds up a write.
const INTERVAL: Duration = Duration::from_millis(50);

/// The thread of one database. It holds the database open, so drop it first; dropping waits for its end.
pub(super) struct Waker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waker {
    pub(super) fn start(db: &Db) -> Outcome<Self> {
        let context = db.context.clone();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("store-wake".into()).spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if context.global_error().is_err() {
                    // With a stored error this waits for nothing: it notifies the waiters and returns the error.
                    let _ = contain(|| context.pagecache.log.make_stable(i64::MAX));
                }
            }
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It contains the panics of sled and has none of its own.
            drop(thread.join());
        }
    }
}

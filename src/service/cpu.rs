//! CPU-bound work of calls, apart from the threads that read the store: at most two at a time, so that neither reads nor
//! lists wait for it.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{Error, Result};

/// How many run at a time; others wait in the order of their arrival.
const AT_ONCE: usize = 2;

/// See the module's page.
#[derive(Debug, Clone)]
pub(super) struct CpuWork(Arc<Semaphore>);

impl Default for CpuWork {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl CpuWork {
    /// Runs work on a thread of its own. It comes to its end also when its caller has gone, and counts until then.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let ended = |()| Error::internal("work on a thread of its own did not end");
        let permit = self.0.clone().acquire_owned().await.map_err(|_| ended(()))?;
        let working = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        working.await.map_err(|_| ended(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::future::{join, poll_immediate};

    use super::*;

    #[tokio::test]
    async fn two_run_at_a_time_and_count_until_they_end() {
        let cpu = CpuWork::default();
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(parking_lot::Mutex::new(wait));
        let held = || {
            let wait = wait.clone();
            Box::pin(cpu.run(move || wait.lock().recv().is_err()))
        };
        let (mut first, mut second) = (held(), held());
        assert!(poll_immediate(&mut first).await.is_none() && poll_immediate(&mut second).await.is_none());
        let mut third = Box::pin(cpu.run(|| 3));
        assert!(poll_immediate(&mut third).await.is_none());
        // Its caller goes away, and its thread works on.
        drop(first);
        assert!(poll_immediate(&mut third).await.is_none());
        drop(go);
        let (second, third) = join(second, third).await;
        assert_eq!((second.unwrap(), third.unwrap()), (true, 3));
    }
}

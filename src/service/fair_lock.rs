//! Fair locks: after a write conflict on a slot, callers retry in the order of arrival.
//!
//! Nothing rests on this but fairness: preconditions keep what is stored right. Without it, of 64 writers of one slot
//! each would win one commit in 64, and most would use up their attempts.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as FairMutex, OwnedMutexGuard};

use crate::domain::article::ArticleId;
use crate::domain::language::Language;

type Key = (ArticleId, Language);

/// The locks of the slots that callers compete for.
#[derive(Debug, Default)]
pub(super) struct FairLocks(Mutex<HashMap<Key, Arc<FairMutex<()>>>>);

/// Holds the lock of a slot until it is dropped.
#[derive(Debug)]
pub(super) struct FairLockGuard<'a> {
    locks: &'a FairLocks,
    key: Key,
    /// `None` only while it is dropped.
    queue: Option<OwnedMutexGuard<()>>,
}

impl FairLocks {
    /// Waits for the lock if other callers hold it or wait for it; a newcomer would otherwise overtake them.
    pub(super) async fn join(&self, article: &ArticleId, language: &Language) -> Option<FairLockGuard<'_>> {
        let is_fought_for = {
            let slots = self.0.lock();
            !slots.is_empty() && slots.contains_key(&(article.clone(), language.clone()))
        };
        if is_fought_for {
            Some(self.take(article, language).await)
        } else {
            None
        }
    }

    /// Waits for the lock.
    pub(super) async fn take(&self, article: &ArticleId, language: &Language) -> FairLockGuard<'_> {
        let key = (article.clone(), language.clone());
        let mut turn = FairLockGuard {
            locks: self,
            key: key.clone(),
            queue: None,
        };
        let queue = self.0.lock().entry(key).or_default().clone();
        // A call that is given up while it waits leaves the queue, and `turn` tidies up.
        turn.queue = Some(queue.lock_owned().await);
        turn
    }
}

impl Drop for FairLockGuard<'_> {
    fn drop(&mut self) {
        drop(self.queue.take());
        let mut slots = self.locks.0.lock();
        // Who holds or waits for it has a reference too.
        if slots
            .get(&self.key)
            .is_some_and(|queue| Arc::strong_count(queue) == 1)
        {
            slots.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn slot(language: &str) -> Key {
        (ArticleId::parse("a").unwrap(), Language::parse(language).unwrap())
    }

    #[test]
    fn turns_go_in_order_and_leave_nothing_behind() {
        let locks = FairLocks::default();
        let (article, english) = slot("en");
        let (_, french) = slot("fr");
        assert!(locks.join(&article, &english).now_or_never().unwrap().is_none());
        let first = locks.take(&article, &english).now_or_never().unwrap();
        assert!(locks.join(&article, &french).now_or_never().unwrap().is_none());
        let mut second = Box::pin(locks.join(&article, &english));
        let mut third = Box::pin(locks.take(&article, &english));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.now_or_never().unwrap();
        assert!(second.is_some());
        // One that gives up while it waits.
        drop(third);
        drop(second);
        assert!(locks.0.lock().is_empty());
    }
}

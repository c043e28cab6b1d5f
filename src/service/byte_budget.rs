//! Byte budget: a bounded number of bytes that streams may hold at a time, of which one caller gets a share at most.
//!
//! A stream takes bytes before it holds them and gives them back when it is done with them or dropped, so that streams that
//! are not read hold no more than the budget together. One that finds no room waits: backpressure, not an error.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes are counted in units, so that a semaphore can count them.
const UNIT: usize = 1 << 10;

/// See the module's page.
#[derive(Debug)]
pub struct ByteBudget {
    limit: u32,
    share: u32,
    all: Arc<Semaphore>,
    callers: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

/// Bytes of a budget, given back when this is dropped.
#[derive(Debug)]
pub struct HeldBytes {
    // The caller's own share is taken first and given back last.
    all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl ByteBudget {
    /// So many bytes, of which one caller may hold half.
    pub fn new(bytes: usize) -> Self {
        let limit = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(2);
        Self {
            limit,
            share: limit / 2,
            all: Arc::new(Semaphore::new(limit as usize)),
            callers: Mutex::default(),
        }
    }

    /// Takes bytes for a caller if there is room for them now.
    pub fn try_take(&self, caller: &str, bytes: usize) -> Option<HeldBytes> {
        let units = self.units(bytes);
        let own = self.share_of(caller).try_acquire_many_owned(units).ok()?;
        let all = self.all.clone().try_acquire_many_owned(units).ok()?;
        Some(HeldBytes { all, _own: own })
    }

    /// Takes bytes for a caller when there is room for them, in the order of the calls. What is larger than a share counts as
    /// a share. `None` if the budget is closed, which it never is.
    pub async fn take(&self, caller: &str, bytes: usize) -> Option<HeldBytes> {
        let units = self.units(bytes);
        let own = self.share_of(caller).acquire_many_owned(units).await.ok()?;
        let all = self.all.clone().acquire_many_owned(units).await.ok()?;
        Some(HeldBytes { all, _own: own })
    }

    /// Whether held bytes cover this number of bytes.
    pub fn covers(&self, held: &HeldBytes, bytes: usize) -> bool {
        held.all.num_permits() >= self.units(bytes) as usize
    }

    /// How many bytes are held now.
    pub fn held(&self) -> usize {
        (self.limit as usize).saturating_sub(self.all.available_permits()) * UNIT
    }

    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT))
            .unwrap_or(u32::MAX)
            .clamp(1, self.share)
    }

    /// The share of a caller. Unused shares are dropped.
    fn share_of(&self, caller: &str) -> Arc<Semaphore> {
        let mut callers = self.callers.lock();
        if let Some(share) = callers.get(caller) {
            return share.clone();
        }
        callers.retain(|_, share| Arc::strong_count(share) > 1);
        let share = Arc::new(Semaphore::new(self.share as usize));
        callers.insert(caller.into(), share.clone());
        share
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn one_caller_holds_half_and_waits_for_its_own() {
        let budget = ByteBudget::new(8 << 10);
        let first = budget.try_take("nora", 3 << 10).unwrap();
        assert!(budget.try_take("nora", 2 << 10).is_none());
        let mut waiting = Box::pin(budget.take("nora", 2 << 10));
        assert!(waiting.as_mut().now_or_never().is_none());
        // Others are not kept waiting by that.
        let other = budget.try_take("idris", 4 << 10).unwrap();
        assert_eq!(budget.held(), 7 << 10);
        drop(first);
        let second = waiting.now_or_never().unwrap().unwrap();
        assert!(budget.covers(&second, 2 << 10) && !budget.covers(&second, 3 << 10));
        drop((other, second));
        assert_eq!(budget.held(), 0);
        assert!(budget.try_take("omar", 1).is_some());
        assert_eq!(budget.callers.lock().len(), 1);
    }

    #[test]
    fn what_is_larger_than_a_share_takes_a_share() {
        let budget = ByteBudget::new(8 << 10);
        let held = budget.take("nora", 1 << 30).now_or_never().unwrap().unwrap();
        assert_eq!(budget.held(), 4 << 10);
        drop(held);
        assert_eq!(budget.held(), 0);
    }
}

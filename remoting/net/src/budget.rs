//! A budget of bytes and the permits taken from it.
//!
//! A permit stands for the bytes of one request that was decoded and whose reply has not left. It travels with the
//! request and then with the reply; dropping it anywhere gives the bytes back, so no path can leak them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes that may be in flight, shared by clones.
#[derive(Clone, Debug)]
pub struct ByteBudget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

impl ByteBudget {
    /// A budget of `limit` bytes, none of them used.
    pub fn new(limit: usize) -> ByteBudget {
        let inner =
            Inner { limit, used: AtomicUsize::new(0), waiting: AtomicUsize::new(0), freed: Notify::new() };
        ByteBudget { inner: Arc::new(inner) }
    }

    /// Bytes that may be used at once.
    pub fn limit(&self) -> usize {
        self.inner.limit
    }

    /// Bytes in use now; above the limit after `charge`.
    pub fn in_use(&self) -> usize {
        self.inner.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes` when they fit. A single request larger than the whole budget fits when nothing else is in use,
    /// else it could never be served.
    pub fn try_take(&self, bytes: usize) -> Option<BytesPermit> {
        let fits = |used: usize| {
            let sum = used.saturating_add(bytes);
            (used == 0 || sum <= self.inner.limit).then_some(sum)
        };
        self.inner.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).ok()?;
        Some(BytesPermit { budget: Some(self.clone()), bytes })
    }

    /// Takes `bytes` whether they fit or not: for memory that is already used.
    pub fn charge(&self, bytes: usize) -> BytesPermit {
        self.inner.used.fetch_add(bytes, Ordering::AcqRel);
        BytesPermit { budget: Some(self.clone()), bytes }
    }

    /// Waits until less than the limit is in use. Holds nothing; safe to drop.
    pub async fn room(&self) {
        while self.in_use() >= self.inner.limit {
            let _waiting = Waiting::new(&self.inner.waiting);
            let freed = self.inner.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.inner.used.load(Ordering::SeqCst) >= self.inner.limit {
                freed.await;
            }
        }
    }

    fn give_back(&self, bytes: usize) {
        let before = self.inner.used.fetch_sub(bytes, Ordering::SeqCst);
        assert!(before >= bytes, "more bytes given back than taken: {bytes} of {before}");
        if self.inner.waiting.load(Ordering::SeqCst) > 0 {
            self.inner.freed.notify_waiters();
        }
    }
}

/// Bytes of a budget, given back when dropped.
#[derive(Debug)]
pub struct BytesPermit {
    budget: Option<ByteBudget>,
    bytes: usize,
}

impl BytesPermit {
    /// A permit of no budget: for requests that the process makes to itself, and for tests.
    pub fn none() -> BytesPermit {
        BytesPermit { budget: None, bytes: 0 }
    }

    /// Bytes that this permit stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes what the permit stands for, over the limit if need be.
    pub(crate) fn resize(&mut self, bytes: usize) {
        let Some(budget) = &self.budget else { return };
        if bytes > self.bytes {
            budget.inner.used.fetch_add(bytes - self.bytes, Ordering::AcqRel);
        } else {
            budget.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for BytesPermit {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give_back(self.bytes);
        }
    }
}

/// Counts one waiting task for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Waiting<'a> {
        // Sequentially consistent: the waiter raises this before it looks at `used`, the giver lowers `used` before
        // it looks at this; one of the two must see the other.
        count.fetch_add(1, Ordering::SeqCst);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn try_take_refuses_what_does_not_fit_and_drop_gives_back() {
        let budget = ByteBudget::new(100);
        let first = budget.try_take(60).unwrap();
        assert!(budget.try_take(41).is_none());
        let second = budget.try_take(40).unwrap();
        assert_eq!(budget.in_use(), 100);
        drop(first);
        drop(second);
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn a_request_larger_than_the_budget_passes_when_alone() {
        let budget = ByteBudget::new(10);
        let large = budget.try_take(1000).unwrap();
        assert!(budget.try_take(1).is_none());
        drop(large);
        assert!(budget.try_take(1).is_some());
    }

    #[tokio::test]
    async fn room_ends_when_bytes_come_back() {
        let budget = ByteBudget::new(10);
        let permit = budget.charge(25);
        let waiter = tokio::spawn({
            let budget = budget.clone();
            async move { budget.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(permit);
        waiter.await.unwrap();
    }
}

//! News for a task that acts on names: a set instead of a queue. What is told twice before the task looks counts once, and
//! beyond a bound it counts as "look at everything", so that whoever tells never waits and memory stays bounded.

use std::collections::HashSet;
use std::hash::Hash;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits::NEWS_MAX;

/// Told by any thread, taken by one task.
pub struct News<T: Eq + Hash> {
    state: Mutex<Batch<T>>,
    told: Notify,
}

/// What has been told since the last look.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<T: Eq + Hash> {
    pub items: HashSet<T>,
    /// More was told than is kept: anything may have changed.
    pub anything: bool,
}

impl<T: Eq + Hash> Default for Batch<T> {
    fn default() -> Self {
        Self { items: HashSet::new(), anything: false }
    }
}

impl<T: Eq + Hash> Default for News<T> {
    fn default() -> Self {
        Self { state: Mutex::default(), told: Notify::new() }
    }
}

impl<T: Eq + Hash> News<T> {
    /// Tells something. Never waits for the task.
    pub fn tell(&self, item: T) {
        let mut state = self.state.lock();
        if state.anything || (state.items.len() >= NEWS_MAX && !state.items.contains(&item)) {
            state.anything = true;
            state.items = HashSet::new();
        } else {
            state.items.insert(item);
        }
        drop(state);
        self.told.notify_one();
    }

    /// Tells that anything may have changed.
    pub fn tell_anything(&self) {
        self.state.lock().anything = true;
        self.told.notify_one();
    }

    /// Waits for news and takes all there are. Cancel-safe; for one task.
    pub async fn take(&self) -> Batch<T> {
        loop {
            let batch = std::mem::take(&mut *self.state.lock());
            if batch.anything || !batch.items.is_empty() {
                return batch;
            }
            self.told.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn what_is_told_twice_counts_once_and_wakes_the_task() {
        let news = Arc::new(News::default());
        let taking = tokio::spawn({
            let news = news.clone();
            async move { news.take().await }
        });
        tokio::task::yield_now().await;
        news.tell(1);
        assert_eq!(taking.await.ok(), Some(Batch { items: HashSet::from([1]), anything: false }));
        for item in [2, 3, 2] {
            news.tell(item);
        }
        assert_eq!(news.take().await, Batch { items: HashSet::from([2, 3]), anything: false });
    }

    #[tokio::test]
    async fn more_than_the_bound_counts_as_anything_and_keeps_nothing() {
        let news = News::default();
        for item in 0..NEWS_MAX {
            news.tell(item);
        }
        // Told already: no more memory than before.
        news.tell(0);
        assert_eq!(news.state.lock().items.len(), NEWS_MAX);
        for item in 0..3 * NEWS_MAX {
            news.tell(item);
            assert!(news.state.lock().items.len() <= NEWS_MAX);
        }
        assert_eq!(news.take().await, Batch { items: HashSet::new(), anything: true });
        news.tell(7);
        assert_eq!(news.take().await, Batch { items: HashSet::from([7]), anything: false });
    }
}

//! Batches that wait for a worker. Bounded by what queues may hold.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::owned::Owned;
use crate::received::ReceivedMessage;

/// Messages of one queue for one listener call.
pub(crate) struct Batch {
    pub(crate) owned: Arc<Owned>,
    pub(crate) messages: Vec<ReceivedMessage>,
}

/// Batches in the order in which they came.
pub(crate) struct WorkQueue {
    batches: Mutex<VecDeque<Batch>>,
    /// One permit for each batch.
    count: Semaphore,
}

impl Default for WorkQueue {
    fn default() -> Self {
        WorkQueue { batches: Mutex::default(), count: Semaphore::new(0) }
    }
}

impl WorkQueue {
    /// Adds messages of a queue in batches of at most `batch_size`.
    pub(crate) fn push(&self, owned: &Arc<Owned>, messages: Vec<ReceivedMessage>, batch_size: usize) {
        if messages.is_empty() {
            return;
        }
        let count = messages.len().div_ceil(batch_size);
        {
            let mut batches = self.batches.lock();
            if count == 1 {
                batches.push_back(Batch { owned: owned.clone(), messages });
            } else {
                let mut messages = messages.into_iter();
                for _ in 0..count {
                    let batch = messages.by_ref().take(batch_size).collect();
                    batches.push_back(Batch { owned: owned.clone(), messages: batch });
                }
            }
        }
        self.count.add_permits(count);
    }

    /// The next batch; `None` after the close. Safe to drop.
    pub(crate) async fn next(&self) -> Option<Batch> {
        loop {
            self.count.acquire().await.ok()?.forget();
            // None when it was forgotten after the permit was taken.
            let batch = self.batches.lock().pop_front();
            if batch.is_some() {
                return batch;
            }
        }
    }

    /// Drops what waits of a queue.
    pub(crate) fn forget(&self, owned: &Arc<Owned>) {
        let mut batches = self.batches.lock();
        let before = batches.len();
        batches.retain(|batch| !Arc::ptr_eq(&batch.owned, owned));
        self.count.forget_permits(before - batches.len());
    }

    /// Drops what waits and lets the workers go.
    pub(crate) fn close(&self) {
        self.count.close();
        self.batches.lock().clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::push::owned::tests::owned;
    use crate::received::tests::message;

    #[tokio::test]
    async fn batches_of_a_queue_that_is_forgotten_go_and_those_of_others_stay() {
        let work = WorkQueue::default();
        let (gone, stays) = (owned(), owned());
        let messages = || (0..4).map(|offset| message(offset, 1)).collect();
        work.push(&gone, messages(), 2);
        work.push(&stays, messages(), 3);
        work.push(&gone, messages(), 4);
        work.forget(&gone);
        for count in [3, 1] {
            let batch = work.next().await.unwrap();
            assert!(Arc::ptr_eq(&batch.owned, &stays));
            assert_eq!(batch.messages.len(), count);
        }
        assert_eq!((work.count.available_permits(), Arc::strong_count(&gone)), (0, 1));
        work.close();
        assert!(work.next().await.is_none());
    }
}

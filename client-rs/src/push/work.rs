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
        self.count.acquire().await.ok()?.forget();
        self.batches.lock().pop_front()
    }

    /// Drops what waits and lets the workers go.
    pub(crate) fn close(&self) {
        self.count.close();
        self.batches.lock().clear();
    }
}

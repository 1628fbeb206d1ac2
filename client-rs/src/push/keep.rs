//! Offsets that are stored, and locks that are renewed, from time to time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::bodies::MessageQueue;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::core::Core;
use super::owned::Owned;
use crate::limits;

impl Core {
    /// Stores offsets for ever.
    pub(super) async fn keep_offsets(self: Arc<Self>) {
        loop {
            sleep(self.settings.persist_interval).await;
            let held: Vec<Arc<Owned>> = self.queues.lock().held.values().cloned().collect();
            self.store(&held, Duration::ZERO).await;
        }
    }

    /// Stores the offsets of these queues that are not stored yet.
    pub(super) async fn store(&self, queues: &[Arc<Owned>], patience: Duration) {
        let _storing = self.storing.lock().await;
        // Looked at under the lock: a queue whose offset was just reset has no say any more.
        let new: Vec<(&Arc<Owned>, i64)> =
            queues.iter().filter_map(|owned| Some((owned, owned.unstored()?))).collect();
        if new.is_empty() {
            return;
        }
        let offsets = new.iter().map(|(owned, offset)| (owned.queue.clone(), *offset)).collect();
        let failed = self.offsets.store(offsets, patience).await;
        for (owned, offset) in new {
            match failed.iter().find(|(queue, _)| *queue == owned.queue) {
                None => owned.note_stored(offset),
                Some((queue, error)) => {
                    warn!(group = %self.calls.group, ?queue, offset, %error, "offset not stored");
                }
            }
        }
    }

    /// Renews locks for ever.
    pub(super) async fn keep_locks(self: Arc<Self>) {
        loop {
            sleep(limits::LOCK_INTERVAL).await;
            let held: Vec<Arc<Owned>> = self.queues.lock().held.values().cloned().collect();
            self.lock(&held).await;
        }
    }

    /// Locks queues at their brokers, and notes which ones were granted.
    pub(super) async fn lock(&self, queues: &[Arc<Owned>]) {
        let mut by_broker: BTreeMap<&str, Vec<&Arc<Owned>>> = BTreeMap::new();
        for owned in queues.iter().filter(|owned| !owned.dropped.is_cancelled()) {
            by_broker.entry(&owned.queue.broker_name).or_default().push(owned);
        }
        for (broker_name, queues) in by_broker {
            // The broker counts from when it grants; to count from before the request is on the safe side.
            let asked = Instant::now();
            match self.calls.lock(queues.iter().map(|owned| (*owned.queue).clone()).collect()).await {
                Ok(granted) => {
                    for owned in queues {
                        let granted = granted.contains(&owned.queue);
                        debug!(group = %self.calls.group, queue = ?owned.queue, granted, "lock");
                        owned.note_lock(asked, granted);
                    }
                }
                // Locks that were granted before stay good until they are old.
                Err(error) => warn!(group = %self.calls.group, broker_name, %error, "locks not renewed"),
            }
        }
    }

    /// Gives up locks.
    pub(super) async fn unlock(&self, queues: Vec<MessageQueue>) {
        let mut by_broker: BTreeMap<String, Vec<MessageQueue>> = BTreeMap::new();
        for queue in queues {
            by_broker.entry(queue.broker_name.clone()).or_default().push(queue);
        }
        for (broker_name, queues) in by_broker {
            if let Err(error) = self.calls.unlock(queues).await {
                // They expire by themselves.
                warn!(group = %self.calls.group, broker_name, %error, "locks not given up");
            }
        }
    }
}

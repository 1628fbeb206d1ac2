//! Offsets that are stored from time to time, and locks.
//!
//! A lock is renewed for as long as a listener call of its queue may run, even while the queue is given up or the consumer
//! stops: another member must not begin before. Calls about locks to one broker name come one after the other, so that a
//! renewal never arrives behind the unlock of the same queue.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::bodies::MessageQueue;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::core::Core;
use super::owned::Owned;
use crate::limits;

/// Whose turn it is to talk about locks, by broker name. Holds no more names than the routes of this consumer's topics had.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    async fn take(&self, broker_name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self.0.lock().entry(broker_name.to_owned()).or_default().clone();
        turn.lock_owned().await
    }
}

impl Core {
    /// Stores offsets until the stop, and then to the end of what it has begun: an older offset that is on its way must not
    /// arrive behind the farewell's.
    pub(super) async fn keep_offsets(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.member.stop.cancelled() => return,
                () = sleep(self.settings.persist_interval) => {}
            }
            let held: Vec<Arc<Owned>> = self.queues.lock().held.values().cloned().collect();
            self.store(&held, Duration::ZERO).await;
        }
    }

    /// Stores the offsets of these queues that are not stored yet; not of those whose lock is old, for they may be another
    /// member's by now.
    pub(super) async fn store(&self, queues: &[Arc<Owned>], patience: Duration) {
        let _storing = self.member.storing.lock().await;
        // Looked at under the lock: a queue whose offset was just reset has no say any more.
        let mine = queues.iter().filter(|owned| !self.locks() || owned.is_locked());
        let new: Vec<(&Arc<Owned>, i64)> =
            mine.filter_map(|owned| Some((owned, owned.unstored()?))).collect();
        if new.is_empty() {
            return;
        }
        let offsets = new.iter().map(|(owned, offset)| (owned.queue.clone(), *offset)).collect();
        let failed = self.member.offsets.store(offsets, patience).await;
        for (owned, offset) in new {
            match failed.iter().find(|(queue, _)| *queue == owned.queue) {
                None => owned.note_stored(offset),
                Some((queue, error)) => {
                    warn!(group = %self.member.calls.group, ?queue, offset, %error, "offset not stored");
                }
            }
        }
    }

    /// Renews locks for ever.
    pub(super) async fn keep_locks(self: Arc<Self>) {
        loop {
            sleep(limits::LOCK_INTERVAL).await;
            let queues: Vec<Arc<Owned>> = {
                let queues = self.queues.lock();
                queues.held.values().chain(queues.leaving.values()).cloned().collect()
            };
            self.lock(&queues).await;
        }
    }

    /// Locks queues at their brokers, all brokers at once, and notes which ones were granted. A queue whose lock was lost in
    /// between is begun anew.
    ///
    /// # Cancellation
    /// Dropped half-way, locks may be granted that nobody knows of.
    pub(super) async fn lock(&self, queues: &[Arc<Owned>]) {
        let mut by_broker: BTreeMap<&str, Vec<&Arc<Owned>>> = BTreeMap::new();
        for owned in queues {
            by_broker.entry(&owned.queue.broker_name).or_default().push(owned);
        }
        join_all(by_broker.into_iter().map(|(name, queues)| self.lock_at(name, queues))).await;
    }

    async fn lock_at(&self, broker_name: &str, mut queues: Vec<&Arc<Owned>>) {
        let _turn = self.lock_turns.take(broker_name).await;
        queues.retain(|owned| owned.wants_lock());
        // The broker counts from when it grants; to count from before the request is on the safe side.
        let asked = Instant::now();
        match self.member.calls.lock(queues.iter().map(|owned| (*owned.queue).clone()).collect()).await {
            Ok(granted) => {
                for owned in queues {
                    let granted = granted.contains(&owned.queue);
                    debug!(group = %self.member.calls.group, queue = ?owned.queue, granted, "lock");
                    if owned.note_lock(asked, granted) {
                        warn!(group = %self.member.calls.group, queue = ?owned.queue, granted,
                            "the lock was lost: another member may have gone on in this queue");
                        owned.retire();
                        self.begin_anew(owned);
                    }
                }
            }
            // Locks that were granted before stay good until they are old.
            Err(error) => warn!(group = %self.member.calls.group, broker_name, %error, "locks not renewed"),
        }
    }

    /// Gives up locks, at all brokers at once.
    pub(super) async fn unlock(&self, queues: Vec<MessageQueue>) {
        let mut by_broker: BTreeMap<String, Vec<MessageQueue>> = BTreeMap::new();
        for queue in queues {
            by_broker.entry(queue.broker_name.clone()).or_default().push(queue);
        }
        join_all(by_broker.into_iter().map(|(broker_name, queues)| async move {
            let _turn = self.lock_turns.take(&broker_name).await;
            if let Err(error) = self.member.calls.unlock(queues).await {
                // They expire by themselves.
                warn!(group = %self.member.calls.group, broker_name, %error, "locks not given up");
            }
        }))
        .await;
    }
}

//! Queues that come, go, or are set to another offset.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flotilla_remoting::bodies::MessageQueue;
use futures::future::join_all;
use tracing::{info, warn};

use super::core::Core;
use super::listener::Kind;
use super::owned::Owned;
use crate::consume::balance::Holder;
use crate::limits;

impl Holder for Core {
    fn topics(&self) -> Vec<String> {
        self.subscriptions.keys().cloned().collect()
    }

    fn held(&self, topic: &str) -> BTreeSet<MessageQueue> {
        self.queues.lock().held.keys().filter(|queue| queue.topic == topic).cloned().collect()
    }

    fn give_up(&self, queues: Vec<MessageQueue>) {
        let Some(me) = self.me.upgrade() else { return };
        for owned in self.drop_queues(&queues) {
            self.member.tracker.spawn(me.clone().leave(owned));
        }
    }

    async fn take(&self, queues: Vec<MessageQueue>, contested: bool) -> bool {
        let Some(me) = self.me.upgrade() else { return false };
        let mut all = true;
        let mut new = Vec::new();
        for queue in queues {
            let Some(subscription) = self.subscriptions.get(&queue.topic) else { continue };
            if self.queues.lock().leaving.contains_key(&queue) {
                // Its last listener call still runs: two at once would break the order, or repeat messages.
                all = false;
                continue;
            }
            let stats = self.member.stats.topic(&queue.topic);
            new.push(Arc::new(Owned::new(Arc::new(queue), subscription.clone(), stats, &self.member.stop)));
        }
        if self.locks() {
            // To its end even when the consumer stops meanwhile, so that the farewell unlocks behind it.
            let (core, asked) = (me.clone(), new.clone());
            let _ = self.member.tracker.spawn(async move { core.lock(&asked).await }).await;
            let count = new.len();
            new.retain(|owned| owned.is_locked());
            all &= new.len() == count;
        }
        for owned in new {
            self.queues.lock().held.insert((*owned.queue).clone(), owned.clone());
            if let Kind::Orderly(listener) = &self.listener {
                self.member.tracker.spawn(me.clone().consume_queue(owned.clone(), listener.clone()));
            }
            self.member.tracker.spawn(me.clone().pull_queue(owned, contested));
        }
        all
    }
}

impl Core {
    /// Stops pulls and new listener calls of queues, which are leaving from then on.
    fn drop_queues<'a>(&self, names: impl IntoIterator<Item = &'a MessageQueue>) -> Vec<Arc<Owned>> {
        let mut queues = self.queues.lock();
        let mut dropped = Vec::new();
        for name in names {
            if let Some(owned) = queues.held.remove(name) {
                owned.dropped.cancel();
                queues.leaving.insert(name.clone(), owned.clone());
                dropped.push(owned);
            }
        }
        dropped
    }

    /// Gives up a dropped queue: waits a little for listener calls that run, stores the offset, gives up the lock. What is
    /// consumed already is stored at once: the next owner may not wait for as long as the calls run.
    async fn leave(self: Arc<Self>, owned: Arc<Owned>) {
        let orderly = self.listener.is_orderly();
        let wait = if orderly { limits::DROP_WAIT_LOCKED } else { limits::DROP_WAIT };
        let this = std::slice::from_ref(&owned);
        let ((), quiet) = tokio::join!(self.store(this, Duration::ZERO), owned.quiet(wait));
        owned.release();
        self.store(this, limits::LAST_COMMIT_PATIENCE).await;
        let offset = owned.consumed_to();
        // Also when the offset could not be stored: from here on it may be another member's.
        owned.retire();
        owned.let_lock_go();
        if self.locks() && quiet {
            self.unlock(vec![(*owned.queue).clone()]).await;
        }
        info!(group = %self.member.calls.group, queue = ?owned.queue, offset, "queue given up");
        self.end_of_calls(&owned).await;
        self.forget(&owned);
    }

    /// Orderly consumers: waits until no listener call of a queue runs. As long as one does, the queue stays among those that
    /// are leaving and is not taken anew: two calls at once would break its order.
    async fn end_of_calls(&self, owned: &Owned) {
        if self.listener.is_orderly() && !owned.quiet(Duration::ZERO).await {
            warn!(group = %self.member.calls.group, queue = ?owned.queue,
                "a listener call still runs: the queue is not taken again before its end");
            owned.quiet_at_last().await;
        }
    }

    /// Begins a queue of this member anew from the offset that is stored, after its lock was lost: whoever had the lock may have
    /// gone on in it. One that is being given up just ends.
    pub(super) fn begin_anew(&self, owned: &Arc<Owned>) {
        let held = self.queues.lock().held.get(&*owned.queue).is_some_and(|held| Arc::ptr_eq(held, owned));
        let Some(me) = self.me.upgrade().filter(|_| held) else { return };
        for owned in self.drop_queues([&*owned.queue]) {
            let me = me.clone();
            self.member.tracker.spawn(async move {
                owned.release();
                me.end_of_calls(&owned).await;
                me.forget(&owned);
                me.member.balancer.now.notify_one();
            });
        }
    }

    /// Ends a leave.
    fn forget(&self, owned: &Arc<Owned>) {
        owned.let_lock_go();
        let freed = owned.process.lock().clear();
        self.free(freed);
        self.work.forget(owned);
        self.queues.lock().leaving.remove(&*owned.queue);
        self.left.notify_waiters();
    }

    /// [`Core::move_to`] in the background.
    pub(super) fn move_soon(&self, offsets: Vec<(MessageQueue, i64)>, wait: Duration) {
        if let Some(me) = self.me.upgrade() {
            self.member.tracker.spawn(async move { me.move_to(offsets, wait).await });
        }
    }

    /// Goes on elsewhere in these queues: waits for listener calls, stores the new offsets and takes the queues anew.
    /// Source: RocketMQ 5.3 MQClientInstance.resetOffset.
    async fn move_to(&self, offsets: Vec<(MessageQueue, i64)>, wait: Duration) {
        let names: Vec<MessageQueue> = offsets.iter().map(|(queue, _)| queue.clone()).collect();
        let dropped = self.drop_queues(&names);
        join_all(dropped.iter().map(|owned| owned.quiet(wait))).await;
        let mut moved = Vec::new();
        for owned in &dropped {
            owned.release();
            let offset = offsets.iter().find(|(queue, _)| *queue == *owned.queue).map(|(_, offset)| *offset);
            moved.extend(offset.map(|offset| (owned.queue.clone(), offset)));
        }
        {
            let _storing = self.member.storing.lock().await;
            info!(group = %self.member.calls.group, ?moved, "offsets are set");
            for (queue, error) in self.member.offsets.store(moved, limits::CALL_PATIENCE).await {
                warn!(group = %self.member.calls.group, ?queue, %error, "offset not set");
            }
            // Whoever stores next, perhaps by a list of queues that is older than this, finds them without a say.
            for owned in &dropped {
                owned.retire();
            }
        }
        let forgotten = dropped.iter().map(|owned| async move {
            self.end_of_calls(owned).await;
            self.forget(owned);
            self.member.balancer.now.notify_one();
        });
        join_all(forgotten).await;
    }
}

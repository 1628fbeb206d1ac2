//! A queue that this member has: what is held of it, and the way out.
//!
//! ```text
//! active --drop_it--> dropped: no new listener call --release--> released: results count no more
//!             \---------- running calls end ----------^ offsets stored, lock given up
//! ```
//! One whose offset is decided elsewhere, by a reset or by another member, is retired besides: its own is not stored any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use flotilla_remoting::bodies::{MessageQueue, ProcessQueueInfo};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::process_queue::ProcessQueue;
use crate::consume::Subscription;
use crate::consume::stats::TopicStats;
use crate::consume::waiting::until;
use crate::limits;
use crate::unique_id::now_ms;

/// No offset is known.
const NONE: i64 = -1;

/// What is known of the lock of a queue.
#[derive(Debug, Default)]
struct Lock {
    /// When the lock was asked for that the broker granted last.
    granted: Option<Instant>,
    /// It is wanted no more.
    let_go: bool,
}

/// A queue that this member has.
pub(crate) struct Owned {
    pub(crate) queue: Arc<MessageQueue>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) stats: Arc<TopicStats>,
    pub(crate) process: Mutex<ProcessQueue>,
    /// Set while the queue is given up: no new listener call, no further pull.
    pub(crate) dropped: CancellationToken,
    released: AtomicBool,
    /// Whether it is known where the queue starts. That offset is stored even before anything is consumed: a member that leaves
    /// at once must not make the next one start behind what was sent meanwhile.
    begun: AtomicBool,
    /// Whether its offset is decided elsewhere: this side has no say any more.
    retired: AtomicBool,
    /// Offset that is stored.
    stored: AtomicI64,
    /// Listener calls that run.
    running: AtomicUsize,
    quiet: Notify,
    /// Something was consumed: there may be room for another pull.
    pub(crate) room: Notify,
    /// Orderly consumers: messages wait.
    pub(crate) arrived: Notify,
    lock: Mutex<Lock>,
    last_lock_ms: AtomicI64,
    last_pull_ms: AtomicI64,
    last_consume_ms: AtomicI64,
}

impl Owned {
    pub(crate) fn new(
        queue: Arc<MessageQueue>,
        subscription: Arc<Subscription>,
        stats: Arc<TopicStats>,
        stop: &CancellationToken,
    ) -> Owned {
        Owned {
            queue,
            subscription,
            stats,
            process: Mutex::default(),
            dropped: stop.child_token(),
            released: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            stored: AtomicI64::new(NONE),
            running: AtomicUsize::new(0),
            quiet: Notify::new(),
            room: Notify::new(),
            arrived: Notify::new(),
            lock: Mutex::default(),
            last_lock_ms: AtomicI64::new(0),
            last_pull_ms: AtomicI64::new(now_ms()),
            last_consume_ms: AtomicI64::new(now_ms()),
        }
    }

    /// Sets where it starts; `stored` when the offset comes from where offsets are kept.
    pub(crate) fn start_at(&self, offset: i64, stored: bool) {
        *self.process.lock() = ProcessQueue::new(offset);
        if stored {
            self.stored.store(offset, Ordering::Relaxed);
        }
        self.begun.store(true, Ordering::Release);
    }

    /// A pull was answered.
    pub(crate) fn note_answer(&self) {
        self.last_pull_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// A listener call begins; `None` when the queue is being given up.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Running> {
        // Raised before the look at `dropped`, so that whoever drops the queue sees this call or is seen.
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(self.clone());
        (!self.dropped.is_cancelled()).then_some(running)
    }

    /// Waits until no listener call runs. Safe to drop.
    pub(crate) async fn quiet_at_last(&self) {
        until(&self.quiet, || self.running.load(Ordering::SeqCst) == 0).await;
    }

    /// [`Owned::quiet_at_last`], at most so long; tells whether that is so. Safe to drop.
    pub(crate) async fn quiet(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.quiet_at_last()).await.is_ok()
    }

    /// From now on results of listener calls count no more.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::SeqCst)
    }

    /// From now on this queue's offset is neither told nor stored.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// The offset up to which everything is consumed, once it is known where the queue starts, and until it is retired.
    pub(crate) fn consumed_to(&self) -> Option<i64> {
        let known = self.begun.load(Ordering::Acquire) && !self.retired.load(Ordering::SeqCst);
        known.then(|| self.process.lock().consumed_to())
    }

    /// The offset if it is to be stored.
    pub(crate) fn unstored(&self) -> Option<i64> {
        self.consumed_to().filter(|offset| *offset != self.stored.load(Ordering::Relaxed))
    }

    pub(crate) fn note_stored(&self, offset: i64) {
        self.stored.store(offset, Ordering::Relaxed);
    }

    /// Notes an answer to a lock request that was made at `asked`: an old lock is one that was asked for long ago. Claims that
    /// the queue was locked before and another member may have had it since: it was refused now, or granted after the broker
    /// may have forgotten the lock before.
    pub(crate) fn note_lock(&self, asked: Instant, granted: bool) -> bool {
        let before = std::mem::replace(&mut self.lock.lock().granted, granted.then_some(asked));
        if granted {
            self.last_lock_ms.store(now_ms(), Ordering::Relaxed);
            self.arrived.notify_one();
            self.room.notify_one();
        }
        before.is_some_and(|before| !granted || before.elapsed() >= limits::LOCK_KEPT)
    }

    /// Claims that the lock can be relied on: brokers keep it for 60 s from the request on, this side for 30.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.lock().granted.is_some_and(|asked| asked.elapsed() < limits::LOCK_AGE_MAX)
    }

    /// From now on the lock is not asked for any more.
    pub(crate) fn let_lock_go(&self) {
        self.lock.lock().let_go = true;
    }

    /// Claims that the lock is to be had, or renewed. One that was not had before the queue was dropped is wanted no more: it
    /// would be granted behind the farewell's unlock.
    pub(crate) fn wants_lock(&self) -> bool {
        let lock = self.lock.lock();
        !lock.let_go && (lock.granted.is_some() || !self.dropped.is_cancelled())
    }

    /// Notes the end of a listener call.
    pub(crate) fn note_consumed(&self) {
        self.last_consume_ms.store(now_ms(), Ordering::Relaxed);
        self.room.notify_one();
    }

    /// What an administrator is told of it. Source: RocketMQ 5.3 ProcessQueue.fillProcessQueueInfo.
    pub(crate) fn info(&self) -> ProcessQueueInfo {
        let process = self.process.lock();
        let (first, last) = process.range().unwrap_or_default();
        let held = process.held();
        let running = self.running.load(Ordering::Relaxed);
        ProcessQueueInfo {
            cached_msg_count: i32::try_from(held.messages).unwrap_or(i32::MAX),
            cached_msg_max_offset: last,
            cached_msg_min_offset: first,
            cached_msg_size_mib: i32::try_from(held.bytes >> 20).unwrap_or(i32::MAX),
            commit_offset: process.consumed_to(),
            droped: self.dropped.is_cancelled(),
            last_consume_timestamp: self.last_consume_ms.load(Ordering::Relaxed),
            last_lock_timestamp: self.last_lock_ms.load(Ordering::Relaxed),
            last_pull_timestamp: self.last_pull_ms.load(Ordering::Relaxed),
            locked: self.is_locked(),
            transaction_msg_count: i32::try_from(running).unwrap_or(i32::MAX),
            transaction_msg_max_offset: 0,
            transaction_msg_min_offset: 0,
            try_unlock_times: 0,
        }
    }
}

/// A listener call that runs.
pub(crate) struct Running(Arc<Owned>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::consume::Expression;
    use crate::received::tests::message;

    /// A queue that nobody has, for tests.
    pub(in crate::push) fn owned() -> Arc<Owned> {
        let queue = MessageQueue { topic: "t".into(), broker_name: "b".into(), queue_id: 0 };
        let subscription = Subscription::new("t", &Expression::All, 1).unwrap();
        let stats = crate::consume::stats::Stats::default().topic("t");
        let stop = CancellationToken::new();
        Arc::new(Owned::new(Arc::new(queue), Arc::new(subscription), stats, &stop))
    }

    #[test]
    fn a_start_is_worth_storing_before_anything_is_pulled_unless_it_was_stored() {
        let (owned, other) = (owned(), owned());
        assert_eq!(owned.unstored(), None, "no start is known");
        owned.start_at(7, false);
        assert_eq!((owned.consumed_to(), owned.unstored()), (Some(7), Some(7)));
        owned.note_stored(7);
        assert_eq!(owned.unstored(), None);
        other.start_at(7, true);
        assert_eq!((other.consumed_to(), other.unstored()), (Some(7), None));
    }

    #[test]
    fn a_lock_is_lost_when_it_is_refused_or_comes_back_too_late() {
        let (refused, late) = (owned(), owned());
        let now = Instant::now();
        assert!(!refused.note_lock(now, false), "never had");
        assert!(!refused.is_locked());
        assert!(!refused.note_lock(now, true));
        assert!(!refused.note_lock(now, true), "renewed");
        assert!(refused.is_locked());
        assert!(refused.note_lock(now, false), "another member has it");
        assert!(!refused.is_locked());
        let long_ago = now.checked_sub(limits::LOCK_KEPT).unwrap();
        assert!(!late.note_lock(long_ago, true));
        assert!(!late.is_locked());
        assert!(late.note_lock(now, true), "another member may have had it");
    }

    #[test]
    fn a_lock_of_a_dropped_queue_is_renewed_until_it_is_let_go_but_not_begun() {
        let (had, new) = (owned(), owned());
        had.note_lock(Instant::now(), true);
        for owned in [&had, &new] {
            assert!(owned.wants_lock());
            owned.dropped.cancel();
        }
        assert!(had.wants_lock() && !new.wants_lock());
        had.let_lock_go();
        assert!(!had.wants_lock());
    }

    #[test]
    fn a_queue_that_is_retired_or_cleared_never_stores_what_it_did_not_consume() {
        let owned = owned();
        owned.start_at(0, true);
        owned.process.lock().put(&mut (0..5).map(|offset| message(offset, 1)).collect(), 5);
        owned.process.lock().finish([0]);
        assert_eq!(owned.unstored(), Some(1));
        owned.process.lock().clear();
        assert_eq!(owned.unstored(), Some(1), "what is forgotten is not consumed");
        owned.retire();
        assert_eq!((owned.consumed_to(), owned.unstored()), (None, None));
    }
}

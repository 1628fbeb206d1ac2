//! A queue that this member has: what is held of it, and the way out.
//!
//! ```text
//! active --drop_it--> dropped: no new listener call --release--> released: results count no more
//!             \---------- running calls end ----------^ offsets stored, lock given up
//! ```

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
use crate::limits;
use crate::unique_id::now_ms;

/// No offset is known.
const NONE: i64 = -1;

/// A queue that this member has.
pub(crate) struct Owned {
    pub(crate) queue: Arc<MessageQueue>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) stats: Arc<TopicStats>,
    pub(crate) process: Mutex<ProcessQueue>,
    /// Set while the queue is given up: no new listener call, no further pull.
    pub(crate) dropped: CancellationToken,
    released: AtomicBool,
    /// Whether a pull was answered, so that there is an offset worth storing.
    begun: AtomicBool,
    /// Offset that is stored.
    stored: AtomicI64,
    /// Listener calls that run.
    running: AtomicUsize,
    quiet: Notify,
    /// Something was consumed: there may be room for another pull.
    pub(crate) room: Notify,
    /// Orderly consumers: messages wait.
    pub(crate) arrived: Notify,
    /// When the lock was asked for that the broker granted last.
    locked_at: Mutex<Option<Instant>>,
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
            stored: AtomicI64::new(NONE),
            running: AtomicUsize::new(0),
            quiet: Notify::new(),
            room: Notify::new(),
            arrived: Notify::new(),
            locked_at: Mutex::new(None),
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
    }

    /// A pull was answered.
    pub(crate) fn note_answer(&self) {
        self.begun.store(true, Ordering::Release);
        self.last_pull_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// A listener call begins; `None` when the queue is being given up.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Running> {
        // Raised before the look at `dropped`, so that whoever drops the queue sees this call or is seen.
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(self.clone());
        (!self.dropped.is_cancelled()).then_some(running)
    }

    /// Waits until no listener call runs, at most so long; tells whether that is so. Safe to drop.
    pub(crate) async fn quiet(&self, wait: Duration) -> bool {
        let until_quiet = async {
            loop {
                let quiet = self.quiet.notified();
                tokio::pin!(quiet);
                quiet.as_mut().enable();
                if self.running.load(Ordering::SeqCst) == 0 {
                    return;
                }
                quiet.await;
            }
        };
        tokio::time::timeout(wait, until_quiet).await.is_ok()
    }

    /// From now on results of listener calls count no more.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::SeqCst)
    }

    /// The offset up to which everything is consumed, once a pull was answered.
    pub(crate) fn consumed_to(&self) -> Option<i64> {
        self.begun.load(Ordering::Acquire).then(|| self.process.lock().consumed_to())
    }

    /// The offset if it is to be stored.
    pub(crate) fn unstored(&self) -> Option<i64> {
        self.consumed_to().filter(|offset| *offset != self.stored.load(Ordering::Relaxed))
    }

    pub(crate) fn note_stored(&self, offset: i64) {
        self.stored.store(offset, Ordering::Relaxed);
    }

    /// Notes an answer to a lock request that was made at `asked`: an old lock is one that was asked for long ago.
    pub(crate) fn note_lock(&self, asked: Instant, granted: bool) {
        *self.locked_at.lock() = granted.then_some(asked);
        if granted {
            self.last_lock_ms.store(now_ms(), Ordering::Relaxed);
            self.arrived.notify_one();
            self.room.notify_one();
        }
    }

    /// Claims that the lock can be relied on: brokers keep it for 60 s from the request on, this side for 30.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked_at.lock().is_some_and(|asked| asked.elapsed() < limits::LOCK_AGE_MAX)
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

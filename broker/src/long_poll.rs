//! Pulls that wait for messages.
//!
//! A pull that finds nothing is held until a message for it has been applied, its time is over, or its client is gone.
//! `arrived` runs on the Raft thread for each applied entry, so it only looks up and hands over; the woken pulls are
//! run again on the I/O runtime. Whoever holds a pull looks at the queue once more afterwards, so that a message that
//! arrived between the look and the hold is not missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::Instant;

use flotilla_core::rules::TagFilter;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::call::Call;
use crate::limits::HELD_PULLS_MAX;
use crate::metrics::GroupMetrics;

/// System flags of a pull's topic and group, which its answer repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SysFlags {
    pub topic: i32,
    pub group: i32,
}

/// A pull on hold.
pub struct HeldPull {
    pub call: Call,
    pub group: Arc<str>,
    pub topic: Arc<str>,
    pub queue_id: u32,
    pub flags: SysFlags,
    pub offset: i64,
    pub messages_max: usize,
    pub bytes_max: usize,
    pub filter: TagFilter,
    pub series: Arc<GroupMetrics>,
    /// When it is answered "nothing found".
    pub until: Instant,
}

/// Why a held pull is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A message that it may want was applied.
    Arrived,
    /// Its time is over.
    TimedOut,
}

type Held = HashMap<Arc<str>, HashMap<u32, Vec<HeldPull>>>;

/// All pulls that one replica holds.
pub struct LongPolls {
    held: Mutex<Held>,
    count: AtomicUsize,
    woken: mpsc::UnboundedSender<(HeldPull, Wake)>,
}

impl LongPolls {
    /// The receiver's owner runs the woken pulls. The channel is bounded by the number of held pulls.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<(HeldPull, Wake)>) {
        let (woken, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { held: Mutex::default(), count: AtomicUsize::new(0), woken }), receiver)
    }

    /// Number of pulls on hold.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds a pull.
    ///
    /// # Errors
    /// Gives the pull back when the node holds as many as it may.
    pub fn hold(&self, mut pull: HeldPull) -> Result<(), Box<HeldPull>> {
        if self.len() >= HELD_PULLS_MAX {
            return Err(Box::new(pull));
        }
        pull.call.reply.release_bytes();
        let mut held = self.held.lock();
        held.entry(pull.topic.clone()).or_default().entry(pull.queue_id).or_default().push(pull);
        self.count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Tells that messages with these tag codes were appended to a queue, which now ends at `max`.
    pub fn arrived(
        &self,
        topic: &str,
        queue_id: u32,
        max: i64,
        tags_codes: impl Iterator<Item = i64> + Clone,
    ) {
        // The queue was extended before; a holder counts itself first and looks at the queue then. The fence keeps this
        // load behind that store, so that one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.is_empty() {
            return;
        }
        let mut held = self.held.lock();
        let Some(queues) = held.get_mut(topic) else { return };
        let Some(pulls) = queues.get_mut(&queue_id) else { return };
        let mut index = 0;
        while index < pulls.len() {
            let pull = &pulls[index];
            if pull.offset < max && tags_codes.clone().any(|code| pull.filter.matches(code)) {
                self.wake(pulls.swap_remove(index), Wake::Arrived);
            } else {
                index += 1;
            }
        }
        if pulls.is_empty() {
            queues.remove(&queue_id);
            if queues.is_empty() {
                held.remove(topic);
            }
        }
    }

    /// Wakes the pulls of one queue whatever they wait for: after a hold, to look once more.
    pub fn recheck(&self, topic: &str, queue_id: u32, max: i64) {
        let mut held = self.held.lock();
        let Some(pulls) = held.get_mut(topic).and_then(|queues| queues.get_mut(&queue_id)) else { return };
        let mut index = 0;
        while index < pulls.len() {
            if pulls[index].offset < max {
                self.wake(pulls.swap_remove(index), Wake::Arrived);
            } else {
                index += 1;
            }
        }
    }

    /// Wakes the pulls of a topic, to look once more: it was deleted.
    pub fn recheck_topic(&self, topic: &str) {
        let queues = self.held.lock().remove(topic);
        for pull in queues.into_iter().flat_map(HashMap::into_values).flatten() {
            self.wake(pull, Wake::Arrived);
        }
    }

    /// Wakes all pulls, to look once more: everything may have changed.
    pub fn recheck_all(&self) {
        for pull in self.take_all() {
            // Counted again for the wake, which takes it off.
            self.count.fetch_add(1, Ordering::SeqCst);
            self.wake(pull, Wake::Arrived);
        }
    }

    /// Wakes what has waited long enough and drops what nobody waits for any more. Called several times a second.
    pub fn expire(&self, now: Instant) {
        self.wake_where(|pull| pull.until <= now || pull.call.reply.is_closed());
    }

    /// Hands out everything that is held.
    pub fn take_all(&self) -> Vec<HeldPull> {
        let held = std::mem::take(&mut *self.held.lock());
        let pulls: Vec<HeldPull> = held
            .into_values()
            .flat_map(|queues| queues.into_values().flatten().collect::<Vec<_>>())
            .collect();
        self.count.fetch_sub(pulls.len(), Ordering::SeqCst);
        pulls
    }

    fn wake_where(&self, due: impl Fn(&HeldPull) -> bool) {
        if self.is_empty() {
            return;
        }
        let mut held = self.held.lock();
        held.retain(|_, queues| {
            queues.retain(|_, pulls| {
                let mut index = 0;
                while index < pulls.len() {
                    if due(&pulls[index]) {
                        self.wake(pulls.swap_remove(index), Wake::TimedOut);
                    } else {
                        index += 1;
                    }
                }
                !pulls.is_empty()
            });
            !queues.is_empty()
        });
    }

    fn wake(&self, pull: HeldPull, wake: Wake) {
        self.count.fetch_sub(1, Ordering::SeqCst);
        // The receiver is gone only when the node stops; then the pulls end with their connections.
        let _ = self.woken.send((pull, wake));
    }
}

//! Consume queues: for each queue, where its messages lie in the log. A view: it can be deleted and is rebuilt from the log.
//!
//! ```text
//! apply ── extend ──▶ units in memory (the log from `memory_from` on)
//!                         │ the segment is sealed and applied: the keeper writes its view file
//!                         ▼
//!                     <dir>/queues/<segment base>  ◀── missing, damaged, of another history: rebuilt by scanning the segment
//!                         │ the segment is purged
//!                         ▼
//!                     unlinked
//! ```
//!
//! Promises: a queue shows exactly the applied messages, in order, without a hole; what a file says is checked by checksum
//! before it is believed; memory holds the open segment's units and a few words per queue and sealed segment.
//! Leaves to others: which numbers a client may ask for (`flotilla-core`'s rules), the messages themselves (`LogReader`).
//!
//! Files are written to a temporary name and renamed, and never synced: after a power cut a bad one is rebuilt.

mod file;
mod keeper;
pub mod keys;
mod list;
mod queue;
mod scan;
mod segment;
mod signal;
mod topics;
mod unit;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::{fs, io};

use flotilla_core::{Effects, EntryContext, Tables};
use parking_lot::Mutex;

use keeper::Keeper;
pub use queue::QueueView;
pub use segment::{Segment, SegmentSource, Visit};
pub use unit::{UNIT_SIZE, Unit};

/// All consume queues of a node. `extend` and `reset` come from the one thread that applies the log; everything else from
/// anywhere.
pub struct ConsumeQueues {
    keeper: Arc<Keeper>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ConsumeQueues {
    /// Opens the views below `dir`, makes the folder when there is none, and starts the keeper's thread. Nothing is read until
    /// [`ConsumeQueues::reset`] has told the state and the source has the log.
    ///
    /// # Errors
    /// The folder can't be made or read, or the thread can't be started.
    pub fn open(dir: &Path, source: Arc<dyn SegmentSource>) -> io::Result<Arc<Self>> {
        let views = Self::open_idle(dir, source)?;
        let keeper = views.keeper.clone();
        let thread = std::thread::Builder::new().name("views".to_owned()).spawn(move || keeper.run())?;
        *views.thread.lock() = Some(thread);
        Ok(Arc::new(views))
    }

    /// As [`ConsumeQueues::open`] without the thread: the caller keeps the files himself.
    fn open_idle(dir: &Path, source: Arc<dyn SegmentSource>) -> io::Result<Self> {
        let dir = dir.join("queues");
        fs::create_dir_all(&dir)?;
        Ok(Self { keeper: Arc::new(Keeper::new(dir, source)), thread: Mutex::new(None) })
    }

    /// Takes in what an applied entry did. Touches memory only.
    ///
    /// # Panics
    /// When a message does not continue its queue: the tables and the views have come apart, which is a bug.
    pub fn extend(&self, entry: &EntryContext, end_position: u64, effects: &Effects) {
        debug_assert!(entry.position < end_position, "entry {} ends before it begins", entry.index);
        let topics = self.keeper.topics();
        for run in effects.runs() {
            topics.queue_or_new(run.topic, run.queue_id).append(run.messages);
        }
        for queue in &effects.minimums {
            topics.queue_or_new(&queue.topic, queue.queue_id).raise_minimum(queue.min);
        }
        self.keeper.applied(end_position);
    }

    /// Starts over from the tables of a checkpoint: what lies before it comes from files, what follows from
    /// [`ConsumeQueues::extend`].
    pub fn reset(&self, tables: &Tables) {
        self.keeper.reset(tables);
    }

    /// A queue that has ever held a message.
    pub fn queue(&self, topic: &str, queue_id: u32) -> Option<Arc<QueueView>> {
        self.keeper.topics().queue(topic, queue_id)
    }

    /// Lets the keeper look at the segments: after one was sealed, or once the source has the log. It also looks by itself
    /// every few seconds.
    pub fn wake(&self) {
        self.keeper.wake();
    }

    /// True when every applied message can be found: until then `units` may answer that a part is still being rebuilt.
    pub fn is_ready(&self) -> bool {
        self.keeper.is_ready()
    }
}

impl Drop for ConsumeQueues {
    fn drop(&mut self) {
        self.keeper.stop();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the keeper has been printed where it happened, and the views end here anyway.
            let _ = thread.join();
        }
    }
}

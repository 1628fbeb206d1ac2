//! The key index: which messages have a key. A view: it can be deleted and is rebuilt from the log.
//!
//! ```text
//! apply ── one store per entry ──▶ number of applied entries
//!                                      │ a thread of its own reads the entries again, from memory mostly
//!                                      ▼
//!                 tail: (hash of topic and key, position), newest messages
//!                                      │ its segment ends, or it holds a million keys
//!                                      ▼
//!                 <dir>/keys/<first entry>, sorted  ◀── missing, damaged, of another history: scanned again
//!                                      │ the segment is purged
//!                                      ▼
//!                                   unlinked
//! ```
//!
//! Promises: a query finds every applied and retained message with the key, newest first, within its limits, and no other; what a
//! file says is checked by checksum before it is believed. Memory: 12 bytes for each key of the tail, at most 12 MB and 28 MB for the
//! moment in which it becomes a file; of a file 1/384 of its size. Disk: 12.02 bytes for each key, so for usual messages with a unique
//! id and one key 24 bytes each. Cost: one store per entry on the
//! thread that applies, nothing on those that serve clients; everything else is the index's own thread, which parses each message a
//! second time (`benches/key_index.rs`).
//!
//! Leaves to others: the messages themselves, and which positions still count (`query`'s caller).
//!
//! Files are written to a temporary name and renamed, and never synced: after a power cut a bad one is rebuilt.

mod hash;
mod keeper;
mod part;
mod pulse;
mod query;
mod tail;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use std::{fs, io};

use parking_lot::Mutex;

use hash::Hasher;
pub use keeper::{EntrySource, Stretch};
use keeper::{KEYS_PER_FILE, Keeper};
pub use query::{KeyAnswer, KeyQuery, ReadMessage};
pub use tail::{LogEntry, Newest, VisitEntry};

/// The key index of a node. `applied` and `reset` come from the one thread that applies the log; everything else from anywhere.
pub struct KeyIndex {
    keeper: Arc<Keeper>,
    hasher: Hasher,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl KeyIndex {
    /// Opens the index below `dir`, makes the folder when there is none, and starts its thread. Nothing is read until
    /// [`KeyIndex::reset`] has told the state and the source has the log.
    ///
    /// # Errors
    /// The folder can't be made, or the thread can't be started.
    pub fn open(dir: &Path, source: Arc<dyn EntrySource>) -> io::Result<Arc<Self>> {
        let index = Self::open_idle(dir, source, hash::hash, KEYS_PER_FILE)?;
        let keeper = index.keeper.clone();
        let thread = std::thread::Builder::new().name("keys".to_owned()).spawn(move || keeper.run())?;
        *index.thread.lock() = Some(thread);
        Ok(Arc::new(index))
    }

    /// As [`KeyIndex::open`] without the thread, with another hash and other files.
    fn open_idle(
        dir: &Path,
        source: Arc<dyn EntrySource>,
        hasher: Hasher,
        keys_per_file: usize,
    ) -> io::Result<Self> {
        let dir = dir.join("keys");
        fs::create_dir_all(&dir)?;
        let keeper = Arc::new(Keeper::new(dir, source, hasher, keys_per_file));
        Ok(Self { keeper, hasher, thread: Mutex::default() })
    }

    /// Says that an entry is applied. One store; wakes the index's thread when that has nothing else to do.
    pub fn applied(&self, index: u64) {
        self.keeper.pulse.applied(index + 1);
    }

    /// Starts over from a checkpoint behind so many entries.
    pub fn reset(&self, applied_count: u64) {
        self.keeper.reset(applied_count);
    }

    /// Lets the index look at the segments: once the source has the log, or after a purge. It also looks by itself every few
    /// seconds.
    pub fn wake(&self) {
        self.keeper.pulse.urge();
    }

    /// Entries that are applied and can't be found by key yet.
    pub fn behind(&self) -> u64 {
        self.keeper.behind()
    }

    /// Waits until everything that is applied now can be found; false when it can't in time. Blocks.
    pub fn wait(&self, deadline: Instant) -> bool {
        let count = self.keeper.pulse.applied_count();
        self.keeper.pulse.until(deadline, || self.keeper.covers(count))
    }

    /// Finds messages, among what is indexed. `read` gives the message at a position. Blocks.
    ///
    /// # Errors
    /// `WouldBlock` when a file was found damaged: it is being rebuilt, ask again soon. Otherwise what reading a file gave.
    pub fn find(
        &self,
        query: &KeyQuery<'_>,
        readable: &Range<u64>,
        read: &ReadMessage<'_>,
    ) -> io::Result<KeyAnswer> {
        let hash = (self.hasher)(query.topic.as_bytes(), query.key.as_bytes());
        let found = query::find(&self.keeper, hash, query, readable, read);
        if found.is_err() {
            self.wake();
        }
        found
    }
}

impl Drop for KeyIndex {
    fn drop(&mut self) {
        self.keeper.pulse.stop();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread has been printed where it happened, and the index ends here anyway.
            let _ = thread.join();
        }
    }
}

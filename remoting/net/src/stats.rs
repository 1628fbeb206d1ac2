//! Counters of a listener or pool, read by metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Monotonic counts since start, unless a field says otherwise.
#[derive(Debug, Default)]
pub struct NetStats {
    /// Connections open now.
    pub connections: AtomicU64,
    /// Connections accepted or opened.
    pub opened: AtomicU64,
    /// Of those, how many have ended, for whatever reason.
    pub closed: AtomicU64,
    /// Connections closed because nothing was read or written for too long.
    pub idle_closed: AtomicU64,
    /// Connections closed because the socket failed, or one of our own tasks.
    pub failed: AtomicU64,
    /// Connections closed at once because there were too many.
    pub refused: AtomicU64,
    /// Connections closed because the receiver was too slow.
    pub slow_closed: AtomicU64,
    /// Connections closed because of bytes that are no frame.
    pub malformed: AtomicU64,
    /// Requests refused because the in-flight budget was used up.
    pub overloaded: AtomicU64,
    /// Bytes read from sockets.
    pub bytes_read: AtomicU64,
    /// Bytes written to sockets.
    pub bytes_written: AtomicU64,
}

impl NetStats {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

//! The log: segments of records, one writer, recovery.
//!
//! [`Log`] is owned by the group's thread: it gives entries their place, stamps, chains and checksums them, keeps the
//! newest in memory and hands all writing to one writer, in order. [`LogReader`] reads from any thread.
//! [`Checkpoints`] keeps the tables of the state machine beside the log. The bytes on disk are described in
//! `docs/storage.md`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::types::{EntryKind, FlushMode, LogId};

mod append;
mod background;
mod bounds;
mod change;
mod checkpoint;
mod engine;
mod error;
mod files;
mod folder;
mod index;
mod inspect;
mod jobs;
mod marks;
mod queue;
mod reader;
mod recovery;
mod ring;
mod room;
mod scan;
mod segment;
mod segment_header;
mod shared;
mod slots;
mod start;
mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod time;
mod walk;
mod writer;

pub use change::Installed;
pub use checkpoint::{Checkpoint, CheckpointInfo, Checkpoints, StateSource};
pub use engine::{Driver, LogWork};
pub use error::{AppendError, Damage, Fault, OpenError};
pub use inspect::{InspectError, Report, SegmentReport, Verified, inspect, verify};
pub use reader::{LogReader, SegmentInfo};
pub use recovery::{Recovered, RecoveredVote, RecoveryVisitor, TornTail};
pub use room::{LogRoom, Piece, Space};
pub(crate) use segment::SEGMENT_HEADER_SIZE;
pub use store::Log;
pub use time::{Clock, SystemClock};

/// What one group of writes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupDone {
    /// Bytes written.
    pub bytes: u64,
    /// Records written.
    pub records: u64,
    /// Time until the operating system had them.
    pub write_took: Duration,
    /// Time until the group was done, with its sync if it had one.
    pub took: Duration,
}

/// Is told about the writer's work, on the writer's thread; for metrics.
pub trait LogObserver: fmt::Debug + Send + Sync + 'static {
    /// A group is done; its call-backs run next.
    fn group_done(&self, group: &GroupDone);
}

/// Who runs the writer and the background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterMode {
    /// Two threads of the log: one writes and syncs, one allocates, unlinks and writes checkpoints.
    Thread,
    /// The caller: each call does its writing and calls back before it returns.
    Inline,
    /// The caller, when it calls [`Log::run_writer`]: what was queued till then is one group. Or a [`Driver`], through
    /// [`LogWork`]. For simulation.
    Manual,
}

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the group; logs of two groups never chain.
    pub group: String,
    /// Bytes of a segment file, header included; rounded down to a multiple of 4096.
    pub segment_size: u64,
    /// When an append counts as done.
    pub flush: FlushMode,
    /// Bytes of records kept in memory; those not yet written stay beyond it.
    pub ring_bytes_max: usize,
    /// Bytes that one group of writes takes at most before it is synced.
    pub group_bytes_max: usize,
    /// Whether records are written past the page cache where the file system can do that; with [`FlushMode::Sync`] only: in the
    /// other mode an acknowledgement would wait for the disk that it need not wait for.
    pub direct: bool,
    /// Segments allocated ahead of their use.
    pub spare_count: usize,
    /// Room left in the last segment below which a missing spare segment is reported as [`Space::NoSpare`].
    pub reserve_bytes: u64,
    /// Age of a segment's first record at which a leader starts another one even if it is not full.
    pub segment_age_ms_max: Option<u64>,
    /// Who does the writing.
    pub writer: WriterMode,
    /// With [`WriterMode::Manual`]: is told when there is work.
    pub driver: Option<Arc<dyn Driver>>,
    /// For conformance suites only: the first entry of an empty log may have any index.
    pub first_index_free: bool,
    /// Is told about the writer's work.
    pub observer: Option<Arc<dyn LogObserver>>,
}

impl LogOptions {
    /// The defaults of a production log.
    pub fn new(cluster: &str, group: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            group: group.to_owned(),
            segment_size: 1 << 30,
            flush: FlushMode::Sync,
            ring_bytes_max: 64 << 20,
            group_bytes_max: 8 << 20,
            direct: true,
            spare_count: 1,
            reserve_bytes: 64 << 20,
            segment_age_ms_max: None,
            writer: WriterMode::Thread,
            driver: None,
            first_index_free: false,
            observer: None,
        }
    }
}

/// An entry that has no bytes yet: the log gives it position, time, chain and checksum, and lets the stamper number it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Term and index.
    pub id: LogId,
    /// Full node id of the leader; written as 0 for index 0.
    pub leader: u64,
    /// What the payload is.
    pub kind: EntryKind,
    /// The payload.
    pub body: Body,
}

/// A draft's payload.
#[derive(Clone, Debug)]
pub enum Body {
    /// The payload alone; it is copied behind a header.
    Plain(Bytes),
    /// The payload behind [`crate::RECORD_HEADER_SIZE`] bytes of room; stamped in place when nobody else holds it.
    HeadRoom(Bytes),
}

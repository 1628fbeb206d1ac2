//! Skeleton of the reader's face.
use crate::record::Record;
use crate::types::LogId;
use bytes::Bytes;
use std::io;
use std::path::PathBuf;

/// One segment file as the log sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The file.
    pub path: PathBuf,
    /// Position of its first record, which is its name.
    pub base: u64,
    /// Position behind its last record.
    pub end: u64,
    /// Index of its first record.
    pub first_index: u64,
    /// Index of its last record; `None` while it is empty.
    pub last_index: Option<u64>,
    /// True once a later segment exists.
    pub sealed: bool,
    /// Bytes of the file.
    pub file_size: u64,
    /// Leader time of its first record.
    pub first_time_ms: u64,
    /// Leader time of its last record.
    pub last_time_ms: u64,
}

/// Reads the log from any thread. Clones are cheap.
#[derive(Clone, Debug)]
pub struct LogReader;

impl LogReader {
    /// Entries `start..end`, contiguous from `start`, at least one if `start` exists and then as many as fit
    /// `bytes_max`. Empty when `start` is behind the last entry or `end <= start`. Blocks unless
    /// [`LogReader::in_memory`] says otherwise.
    ///
    /// # Errors
    /// `NotFound` when `start` is purged; `InvalidData` when the disk gives other bytes than were written.
    pub fn entries(&self, _start: u64, _end: u64, _bytes_max: usize) -> io::Result<Vec<Record>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// True when reading from `start` touches no disk.
    pub fn in_memory(&self, _start: u64) -> bool {
        false
    }
    /// Id of an entry, from memory; also that of the last purged one. `None` when the log does not know it.
    pub fn log_id(&self, _index: u64) -> Option<LogId> {
        None
    }
    /// Last entry.
    pub fn last(&self) -> Option<LogId> {
        None
    }
    /// Last purged entry.
    pub fn purged(&self) -> Option<LogId> {
        None
    }
    /// First entry of each term in `first..=last`, oldest first, from memory.
    pub fn term_starts(&self, _first: u64, _last: u64) -> Vec<LogId> {
        Vec::new()
    }
    /// Bytes from memory only; never blocks. `None` when they are not there.
    pub fn read_recent(&self, _position: u64, _size: u32) -> Option<Bytes> {
        None
    }
    /// Bytes inside one record's payload. May block: call it where that is allowed.
    ///
    /// # Errors
    /// `NotFound` when the range is not inside one retained record below the written mark; `InvalidData` when the
    /// record's checksum differs.
    pub fn read(&self, _position: u64, _size: u32) -> io::Result<Bytes> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Positions of the first retained record and behind the last one.
    pub fn bounds(&self) -> (u64, u64) {
        (0, 0)
    }
    /// Position up to which the log is known to be on the disk.
    pub fn synced(&self) -> u64 {
        0
    }
    /// Position up to which the log has been handed to the operating system.
    pub fn written(&self) -> u64 {
        0
    }
    /// All segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        Vec::new()
    }
    /// The segment that holds an entry.
    pub fn segment_of(&self, _index: u64) -> Option<SegmentInfo> {
        None
    }
}

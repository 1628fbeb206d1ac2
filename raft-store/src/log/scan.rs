//! Reads the records of a segment one after the other and checks that each continues the chain.

use std::io;

use bytes::{Bytes, BytesMut};

use super::segment::SEGMENT_HEADER_SIZE;
use crate::record::{RECORD_HEADER_SIZE, Record, record_size, u64_at};
use crate::types::{ChainPoint, LogId};
use crate::vfs::VfsFile;

const CHUNK_SIZE: usize = 1 << 20;

/// The end of a log: all that the next record has to agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Last entry; `None` before the first.
    pub(crate) id: Option<LogId>,
    /// Position of the next record.
    pub(crate) end: u64,
    /// CRC of the last record, or the group's own value before the first.
    pub(crate) crc: u32,
}

impl Tail {
    pub(crate) fn genesis(crc: u32) -> Self {
        Self { id: None, end: 0, crc }
    }

    pub(crate) fn point(&self) -> Option<ChainPoint> {
        self.id.map(|id| ChainPoint { id, end: self.end, crc: self.crc })
    }

    pub(crate) fn next_index(&self) -> u64 {
        self.id.map_or(0, |id| id.index + 1)
    }

    pub(crate) fn prev_term(&self) -> u64 {
        self.id.map_or(0, |id| id.term)
    }

    /// Says what keeps `record` from standing here; its checksum is not looked at.
    pub(crate) fn check(&self, record: &Record) -> Result<(), String> {
        let id = record.id();
        if self.id.is_some_and(|last| id.index != last.index + 1) {
            return Err(format!("index is {}, {} follows here", id.index, self.next_index()));
        }
        if record.position() != self.end {
            return Err(format!("position is {}, {} follows here", record.position(), self.end));
        }
        if record.prev_term() != self.prev_term() {
            return Err(format!("previous term is {}, here it is {}", record.prev_term(), self.prev_term()));
        }
        if record.prev_crc() != self.crc {
            return Err(format!(
                "previous checksum is {:#010x}, here it is {:#010x}",
                record.prev_crc(),
                self.crc
            ));
        }
        if id.term < self.prev_term() {
            return Err(format!("term is {}, the one before is {}", id.term, self.prev_term()));
        }
        Ok(())
    }

    pub(crate) fn advance(&mut self, record: &Record) {
        *self = record.point().into();
    }
}

impl From<ChainPoint> for Tail {
    fn from(point: ChainPoint) -> Self {
        Self { id: Some(point.id), end: point.end, crc: point.crc }
    }
}

/// Where and why a scan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// Byte in the file.
    pub(crate) offset: u64,
    /// True when a record that belongs here stands here in part. Zeros and bytes of an earlier use of the file do not
    /// count.
    pub(crate) broken: bool,
    pub(crate) what: String,
}

/// One step of a scan.
#[derive(Debug)]
pub(crate) enum Step {
    Record(Record),
    Stop(Stop),
}

/// A scan in progress.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a dyn VfsFile,
    file_size: u64,
    base: u64,
    tail: Tail,
    first: bool,
    /// Unread bytes from the file, starting at the tail.
    buffer: Bytes,
}

impl<'a> Scanner<'a> {
    /// Scans the segment `file` whose first record stands at position `base` and follows `tail`.
    pub(crate) fn new(file: &'a dyn VfsFile, base: u64, tail: Tail) -> io::Result<Self> {
        assert_eq!(base, tail.end, "a segment begins where its predecessor ends");
        Ok(Self { file, file_size: file.size()?, base, tail, first: true, buffer: Bytes::new() })
    }

    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }

    /// The next record, verified, or the end.
    pub(crate) fn next(&mut self) -> io::Result<Step> {
        let offset = SEGMENT_HEADER_SIZE + (self.tail.end - self.base);
        let stop = |broken, what: String| Ok(Step::Stop(Stop { offset, broken, what }));
        if self.buffer.len() < RECORD_HEADER_SIZE {
            self.fill(offset, CHUNK_SIZE)?;
        }
        if self.buffer.len() < RECORD_HEADER_SIZE {
            return stop(false, "the file ends".into());
        }
        let size = match record_size(&self.buffer) {
            Ok(size) => size,
            Err(error) => {
                let empty = self.buffer[..RECORD_HEADER_SIZE].iter().all(|byte| *byte == 0);
                return stop(false, if empty { "zeros".into() } else { error.to_string() });
            }
        };
        // An earlier life of the file left this: every record says where it belongs.
        let position = u64_at(&self.buffer, 32);
        if position != self.tail.end {
            return stop(false, format!("a record of position {position}"));
        }
        if self.buffer.len() < size {
            self.fill(offset, size + CHUNK_SIZE)?;
        }
        let record = match Record::split_from(&mut self.buffer) {
            Ok(record) => record,
            Err(error) => return stop(true, error.to_string()),
        };
        if let Err(error) = record.verify() {
            return stop(true, error.to_string());
        }
        if let Err(what) = self.tail.check(&record) {
            return stop(true, what);
        }
        if record.starts_segment() && !self.first {
            return stop(true, "a record that starts a segment stands inside one".into());
        }
        self.first = false;
        self.tail.advance(&record);
        Ok(Step::Record(record))
    }

    fn fill(&mut self, offset: u64, size: usize) -> io::Result<()> {
        let there = self.file_size.saturating_sub(offset).min(size as u64) as usize;
        let mut buffer = BytesMut::zeroed(there);
        let mut filled = 0;
        while filled < there {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        self.buffer = buffer.freeze();
        Ok(())
    }
}

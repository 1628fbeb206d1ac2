//! Lets the views read the log: which segments there are, and what is in them.

use std::io;
use std::ops::ControlFlow;
use std::sync::OnceLock;

use flotilla_raft_store::LogReader;
use flotilla_raft_store::types::EntryKind;

use crate::views::keys::{EntrySource, LogEntry, Stretch, VisitEntry};
use crate::views::{Segment, SegmentSource, Visit};

/// Bytes of records that a scan reads at once.
const SCAN_BYTES: usize = 4 << 20;

/// The log, once the replica has opened it.
#[derive(Default)]
pub struct LogSegments {
    log: OnceLock<LogReader>,
}

impl LogSegments {
    /// Gives the log.
    ///
    /// # Panics
    /// It is given once.
    pub fn attach(&self, log: LogReader) {
        assert!(self.log.set(log).is_ok(), "the log is attached once");
    }
}

impl EntrySource for LogSegments {
    fn stretches(&self) -> Option<Vec<Stretch>> {
        let segments = self.log.get()?.segments().into_iter();
        Some(
            segments
                .map(|info| Stretch {
                    base: info.base,
                    first_index: info.first_index,
                    last_index: info.last_index,
                    sealed: info.sealed,
                })
                .collect(),
        )
    }

    fn term_of(&self, index: u64) -> Option<u64> {
        self.log.get()?.log_id(index).map(|id| id.term)
    }

    fn read(&self, first: u64, last: u64, visit: &mut VisitEntry<'_>) -> io::Result<()> {
        let log = self.log.get().ok_or(io::ErrorKind::NotConnected)?;
        let mut next = first;
        while next <= last {
            let records = log.entries(next, last + 1, SCAN_BYTES)?;
            if records.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for record in &records {
                let payload = (record.kind() == EntryKind::Application).then(|| record.payload_slice());
                if visit(LogEntry { index: record.index(), payload }) == ControlFlow::Break(()) {
                    return Ok(());
                }
            }
            next += records.len() as u64;
        }
        Ok(())
    }
}

impl SegmentSource for LogSegments {
    fn segments(&self) -> Option<Vec<Segment>> {
        let log = self.log.get()?;
        let segments = log.segments().into_iter().filter_map(|info| {
            let last_index = info.last_index;
            Some(Segment {
                base: info.base,
                end: info.end,
                sealed: info.sealed,
                last_index,
                last_term: log.log_id(last_index)?.term,
            })
        });
        Some(segments.collect())
    }

    fn scan(&self, segment: &Segment, visit: &mut Visit<'_>) -> io::Result<()> {
        let log = self.log.get().ok_or(io::ErrorKind::NotConnected)?;
        let found = log.segments().into_iter().find(|info| info.base == segment.base);
        let mut next = found.ok_or(io::ErrorKind::NotFound)?.first_index;
        while next <= segment.last_index {
            let records = log.entries(next, segment.last_index + 1, SCAN_BYTES)?;
            if records.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for record in &records {
                if record.kind() == EntryKind::Application
                    && visit(record.payload_position(), record.payload_slice())? == ControlFlow::Break(())
                {
                    return Ok(());
                }
            }
            next += records.len() as u64;
        }
        Ok(())
    }
}

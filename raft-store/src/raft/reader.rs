//! The log as the consensus library reads it: for replication and for applying.
//!
//! What is in the log's ring is read on the spot; anything older is read on another thread, so that a lagging follower
//! does not hold up heartbeats. Every answer starts at the entry that was asked for, or is an error: the library only
//! asserts this in debug builds, and a gap would be copied to followers.

use std::fmt;
use std::io;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::Arc;

use futures::{Stream, stream};
use openraft::storage::RaftLogReader;

use super::storage::SharedLog;
use super::types::{Entry, RaftLogId, RaftVote, Types, plain_log_id, raft_log_id, raft_vote};
use crate::log::LogReader;
use crate::record::Record;
use crate::types::LogId;

/// Entries applied between two looks at other work of the thread.
const APPLY_SLICE: usize = 256;
/// Bytes of records applied between two looks: large entries take their time one by one.
const APPLY_SLICE_BYTES: usize = 1 << 20;

/// Implements the library's log reader.
#[derive(Clone)]
pub(crate) struct Reader {
    log: LogReader,
    shared: Arc<SharedLog>,
    bytes_max: usize,
}

impl Reader {
    pub(crate) fn new(log: LogReader, shared: Arc<SharedLog>, bytes_max: usize) -> Reader {
        Reader { log, shared, bytes_max }
    }

    /// Entries from `start`, at least one, or an error.
    async fn some(&self, start: u64, end: u64) -> io::Result<Vec<Record>> {
        let records = if self.log.in_memory(start) {
            self.log.entries(start, end, self.bytes_max)?
        } else {
            let (log, bytes_max) = (self.log.clone(), self.bytes_max);
            self.shared.blocking.run(move || log.entries(start, end, bytes_max)).await??
        };
        match records.first() {
            Some(first) if first.index() == start => Ok(records),
            Some(first) => {
                Err(io::Error::other(format!("entry {start} was asked for, the log gave {}", first.index())))
            }
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("the log has no entry {start}"))),
        }
    }

    /// The range as `start..end`, cut to what the log holds.
    fn present(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        let first = self.first_index();
        let last_end = self.log.last().map_or(0, |last| last.index + 1);
        (start.max(first), end.min(last_end))
    }

    fn holds(&self, index: u64) -> bool {
        index >= self.first_index() && self.log.last().is_some_and(|last| index <= last.index)
    }

    fn first_index(&self) -> u64 {
        let behind_purged = self.log.purged().map_or(0, |purged| purged.index + 1);
        // The conformance suite's logs may begin anywhere.
        self.log.segments().first().map_or(behind_purged, |segment| segment.first_index.max(behind_purged))
    }
}

impl RaftLogReader<Types> for Reader {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + fmt::Debug + openraft::OptionalSend,
    {
        let (mut start, end) = self.present(&range);
        let mut entries = Vec::new();
        while start < end {
            let records = self.some(start, end).await?;
            start += records.len() as u64;
            entries.extend(records.into_iter().map(Entry::stored));
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.shared.log.lock().vote().as_ref().map(raft_vote))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        match self.some(start, end).await {
            Ok(records) => Ok(records.into_iter().map(Entry::stored).collect()),
            // A truncation or an installation was quicker than the replication of a leader that was just deposed: the
            // library takes nothing as a heartbeat, an error would end the node.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.holds(start) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads as the entries are taken, a bounded number of bytes at a time, and lets other tasks run in between.
    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = io::Result<Entry>> + openraft::OptionalSend
    where
        R: RangeBounds<u64> + Clone + fmt::Debug + openraft::OptionalSend,
    {
        struct Feed {
            reader: Reader,
            next: u64,
            end: u64,
            chunk: std::vec::IntoIter<Record>,
            /// Entries and bytes given since the last look at other work.
            given: (usize, usize),
        }
        let (next, end) = self.present(&range);
        let feed = Feed { reader: self.clone(), next, end, chunk: Vec::new().into_iter(), given: (0, 0) };
        stream::try_unfold(feed, |mut feed| async move {
            if feed.given.0 >= APPLY_SLICE || feed.given.1 >= APPLY_SLICE_BYTES {
                feed.given = (0, 0);
                tokio::task::yield_now().await;
            }
            if feed.chunk.as_slice().is_empty() {
                if feed.next >= feed.end {
                    return Ok(None);
                }
                let records = feed.reader.some(feed.next, feed.end).await?;
                feed.next += records.len() as u64;
                feed.chunk = records.into_iter();
            }
            let record = feed.chunk.next().expect("at least one entry was read");
            feed.given = (feed.given.0 + 1, feed.given.1 + record.size());
            Ok(Some((Entry::stored(record), feed)))
        })
    }

    /// The last entry of each leader in the range.
    async fn get_key_log_ids(&mut self, range: RangeInclusive<RaftLogId>) -> io::Result<Vec<RaftLogId>> {
        let (first, last) = (plain_log_id(range.start()), plain_log_id(range.end()));
        Ok(last_of_each_term(first, last, self.log.term_starts(first.index, last.index)))
    }
}

/// `starts` are the first entries of terms in `first..=last`, with or without `first` itself.
fn last_of_each_term(first: LogId, last: LogId, starts: Vec<LogId>) -> Vec<RaftLogId> {
    let mut term = first.term;
    let mut ids = Vec::new();
    for start in starts.into_iter().filter(|start| start.index > first.index) {
        ids.push(raft_log_id(LogId { term, index: start.index - 1 }));
        term = start.term;
    }
    assert_eq!(term, last.term, "the terms of the log end with that of its last entry");
    ids.push(raft_log_id(last));
    ids
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::log::testing::{Counting, TestClock, app, options};
    use crate::log::{Log, WriterMode};
    use crate::raft::runtime::Blocking;
    use crate::vfs::MemVfs;

    /// A leader that is being deposed reads on where a truncation was quicker: that is nothing to send, not a failure.
    #[tokio::test]
    async fn entries_that_were_taken_away_read_as_none() {
        let (vfs, clock) = (Arc::new(MemVfs::new()), Arc::new(TestClock::default()));
        let stamper = Box::new(Counting::default());
        let options = options(WriterMode::Inline);
        let (mut log, _) = Log::open(vfs, Path::new("/node"), options, clock, stamper, &mut ()).unwrap();
        let drafts = (0..10).map(|index| app(1, index, 50)).collect();
        log.append_new(drafts, Box::new(|outcome| outcome.unwrap())).unwrap();
        let log_reader = log.reader();
        let shared = SharedLog {
            log: parking_lot::Mutex::new(log),
            installed: tokio::sync::Notify::new(),
            first_index_free: false,
            blocking: Blocking::Pool,
            installing: std::sync::atomic::AtomicUsize::new(0),
        };
        let shared = Arc::new(shared);
        let mut reader = Reader::new(log_reader, Arc::clone(&shared), 1 << 20);
        assert_eq!(reader.limited_get_log_entries(4, 10).await.unwrap().len(), 6);
        shared
            .log
            .lock()
            .truncate_after(Some(LogId::new(1, 4)), Box::new(|outcome| outcome.unwrap()))
            .unwrap();
        assert_eq!(reader.limited_get_log_entries(4, 10).await.unwrap().len(), 1);
        assert!(reader.limited_get_log_entries(5, 10).await.unwrap().is_empty());
        assert!(reader.limited_get_log_entries(6, 10).await.unwrap().is_empty());
    }

    #[test]
    fn key_log_ids_are_the_last_of_each_term() {
        let id = |term, index| LogId { term, index };
        let plain = |ids: Vec<RaftLogId>| ids.iter().map(plain_log_id).collect::<Vec<_>>();
        let starts = vec![id(1, 5), id(2, 7), id(4, 9)];
        let expected = [id(1, 6), id(2, 8), id(4, 9)];
        assert_eq!(plain(last_of_each_term(id(1, 5), id(4, 9), starts.clone())), expected);
        assert_eq!(plain(last_of_each_term(id(1, 6), id(4, 9), starts)), expected);
        assert_eq!(plain(last_of_each_term(id(3, 3), id(3, 3), vec![id(3, 3)])), [id(3, 3)]);
    }
}

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
            tokio::task::spawn_blocking(move || log.entries(start, end, bytes_max))
                .await
                .map_err(io::Error::other)??
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
        Ok(self.some(start, end).await?.into_iter().map(Entry::stored).collect())
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
            given: usize,
        }
        let (next, end) = self.present(&range);
        let feed = Feed { reader: self.clone(), next, end, chunk: Vec::new().into_iter(), given: 0 };
        stream::try_unfold(feed, |mut feed| async move {
            if let Some(record) = feed.chunk.next() {
                feed.given += 1;
                if feed.given.is_multiple_of(APPLY_SLICE) {
                    tokio::task::yield_now().await;
                }
                return Ok(Some((Entry::stored(record), feed)));
            }
            if feed.next >= feed.end {
                return Ok(None);
            }
            let records = feed.reader.some(feed.next, feed.end).await?;
            feed.next += records.len() as u64;
            feed.chunk = records.into_iter();
            feed.given += 1;
            let record = feed.chunk.next().expect("at least one entry was read");
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
    use super::*;

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

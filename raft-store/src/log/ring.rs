//! The newest records in memory, bounded in bytes.
//!
//! What has not been written yet is never dropped, whatever the bound says: the ring is the only place that has it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::record::{RECORD_HEADER_SIZE, Record};

/// Bookkeeping bytes that a kept record costs beside its own.
const RECORD_COST: usize = 2 * size_of::<Record>();

/// Consecutive records up to the end of the log.
#[derive(Debug)]
pub(crate) struct Ring {
    records: VecDeque<Record>,
    /// Index of the first record, or of the next one while there is none.
    first_index: u64,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    pub(crate) fn new(next_index: u64, bytes_max: usize) -> Self {
        Self { records: VecDeque::new(), first_index: next_index, bytes: 0, bytes_max }
    }

    pub(crate) fn first_index(&self) -> u64 {
        self.first_index
    }

    pub(crate) fn next_index(&self) -> u64 {
        self.first_index + self.records.len() as u64
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, record: Record) {
        if self.records.is_empty() {
            self.first_index = record.index();
        }
        assert_eq!(record.index(), self.next_index(), "the ring has no holes");
        self.bytes += record.size() + RECORD_COST;
        self.records.push_back(record);
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Record> {
        self.records.get(usize::try_from(index.checked_sub(self.first_index)?).ok()?)
    }

    /// Records from `start`, below `end`, as many as fit `bytes_max` and at least one; empty when `start` is not here.
    pub(crate) fn range(&self, start: u64, end: u64, bytes_max: usize) -> Vec<Record> {
        let end = end.min(self.next_index());
        if start < self.first_index || start >= end {
            return Vec::new();
        }
        let (from, to) = ((start - self.first_index) as usize, (end - self.first_index) as usize);
        let mut size = 0;
        let fitting = self.records.range(from..to).take_while(|record| {
            size += record.size();
            size == record.size() || size <= bytes_max
        });
        fitting.cloned().collect()
    }

    /// Bytes inside one record's payload.
    pub(crate) fn payload_range(&self, position: u64, size: u32) -> Option<Bytes> {
        let behind = self.records.partition_point(|record| record.position() <= position);
        let record = self.records.get(behind.checked_sub(1)?)?;
        let from = usize::try_from(position - record.position()).ok()?;
        let to = from.checked_add(size as usize)?;
        (from >= RECORD_HEADER_SIZE && to <= record.size()).then(|| record.bytes().slice(from..to))
    }

    /// Drops records from the front until the bound holds, but none that ends above `written`.
    pub(crate) fn evict(&mut self, written: u64) {
        while self.bytes > self.bytes_max
            && let Some(front) = self.records.front()
            && front.end_position() <= written
        {
            self.pop_front();
        }
    }

    /// Drops records up to `index`, but none that ends above `written`.
    pub(crate) fn drop_until(&mut self, index: u64, written: u64) {
        let gone = |front: &Record| front.index() <= index && front.end_position() <= written;
        while self.records.front().is_some_and(gone) {
            self.pop_front();
        }
    }

    /// Drops the records from `next_index` on.
    pub(crate) fn truncate(&mut self, next_index: u64) {
        while self.records.back().is_some_and(|back| back.index() >= next_index) {
            let record = self.records.pop_back().expect("the back was just seen");
            self.bytes -= record.size() + RECORD_COST;
        }
        if self.records.is_empty() {
            self.first_index = next_index;
        }
    }

    fn pop_front(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes -= record.size() + RECORD_COST;
            self.first_index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::testing::chain;

    fn ring(count: usize, bytes_max: usize) -> (Ring, Vec<Record>) {
        let records = chain(count, 100);
        let mut ring = Ring::new(0, bytes_max);
        records.iter().for_each(|record| ring.push(record.clone()));
        (ring, records)
    }

    /// Rule 9: nothing above the written mark leaves the ring, however full it is.
    #[test]
    fn rule_9_the_ring_keeps_everything_above_the_written_mark() {
        let (mut ring, records) = ring(50, 500);
        ring.evict(records[9].end_position());
        assert_eq!(ring.first_index(), 10);
        ring.evict(records[9].end_position());
        assert_eq!((ring.first_index(), ring.next_index()), (10, 50));
        ring.evict(u64::MAX);
        assert!(ring.bytes() <= 500);
        assert_eq!(ring.next_index(), 50);
    }

    #[test]
    fn ranges_start_where_asked_and_hold_at_least_one() {
        let (mut ring, records) = ring(20, 1 << 20);
        assert_eq!(ring.range(3, 7, usize::MAX), records[3..7]);
        assert_eq!(ring.range(3, 7, 1), records[3..4]);
        assert_eq!(ring.range(3, 100, 2 * records[0].size()), records[3..5]);
        assert_eq!(ring.range(20, 25, 100), []);
        ring.drop_until(4, u64::MAX);
        assert_eq!(ring.range(4, 9, 100), [], "a dropped start gives nothing, not the next best");
        assert_eq!(ring.range(5, 6, 100), records[5..6]);
    }

    #[test]
    fn truncation_removes_the_end_and_forgets_its_bytes() {
        let (mut ring, records) = ring(10, 1 << 20);
        ring.truncate(4);
        assert_eq!((ring.first_index(), ring.next_index()), (0, 4));
        ring.truncate(0);
        assert_eq!(ring.bytes(), 0);
        ring.push(records[0].clone());
        assert_eq!(ring.get(0), Some(&records[0]));
    }

    #[test]
    fn payload_ranges_never_leave_one_payload() {
        let (ring, records) = ring(5, 1 << 20);
        let record = &records[2];
        let start = record.payload_position();
        assert_eq!(ring.payload_range(start, 100).as_deref(), Some(record.payload_slice()));
        assert_eq!(ring.payload_range(start + 10, 5).as_deref(), Some(&record.payload_slice()[10..15]));
        assert_eq!(ring.payload_range(start + 10, 91), None, "runs into the next record");
        assert_eq!(ring.payload_range(record.position() + 5, 5), None, "starts in a header");
        assert_eq!(ring.payload_range(records[4].end_position(), 1), None);
    }
}

//! One state of a log in the model: what it is based on, and its entries.

use std::collections::BTreeMap;

use crate::record::{Record, u64_at};
use crate::types::{ChainPoint, EntryKind, LogId};

/// One state that the log went through: what it is based on and all entries above that, purged or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    pub(super) base: Option<(ChainPoint, u64)>,
    pub(super) records: BTreeMap<u64, Record>,
}

impl Version {
    pub(super) fn last(&self) -> Option<LogId> {
        self.records.values().next_back().map(Record::id).or(self.base.map(|(at, _)| at.id))
    }

    pub(super) fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    pub(super) fn end(&self) -> u64 {
        self.last().and_then(|last| self.point(last.index)).map_or(0, |point| point.end)
    }

    /// Number of application entries up to an index.
    pub(super) fn count(&self, index: u64) -> u64 {
        let numbered =
            self.records.range(..=index).rev().find(|(_, record)| record.kind() == EntryKind::Application);
        match numbered {
            Some((_, record)) => u64_at(record.payload_slice(), 0) + 1,
            None => self.base.map_or(0, |(_, state)| state),
        }
    }

    pub(super) fn point(&self, index: u64) -> Option<ChainPoint> {
        self.records
            .get(&index)
            .map(Record::point)
            .or(self.base.map(|(at, _)| at).filter(|at| at.id.index == index))
    }

    /// Number of entries from the start that two versions share.
    pub(super) fn shared_count(&self, other: &Self) -> u64 {
        if self.base.map(|(at, _)| at) != other.base.map(|(at, _)| at) {
            return 0;
        }
        let mut next = self.base.map_or(0, |(at, _)| at.id.index + 1);
        while let (Some(own), Some(others)) = (self.records.get(&next), other.records.get(&next))
            && own == others
        {
            next += 1;
        }
        next
    }
}

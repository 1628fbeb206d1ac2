//! Keys in memory: of the newest messages, until there are enough for a file.

use std::ops::ControlFlow;

use flotilla_core::{Messages, Payload};

use super::hash::{Hasher, keys_of_message};

/// Entries of a chunk: growth never moves what is there.
const CHUNK_ENTRIES: usize = 8192;

/// Keys of a stretch of the log: the entries `first_index..next_index`, all of one segment.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    /// Base of the segment; positions are counted from it.
    pub(super) base: u64,
    pub(super) first_index: u64,
    /// The entry that is looked at next.
    pub(super) next_index: u64,
    /// Store time of the first and the newest message with a key, and the position of the newest.
    pub(super) newest: Option<Newest>,
    pub(super) first_time: i64,
    chunks: Vec<Chunk>,
    count: usize,
}

/// The newest message in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Newest {
    /// Store time, ms since 1970.
    pub time: i64,
    pub position: u64,
}

#[derive(Debug, Clone)]
struct Chunk {
    hashes: Vec<u64>,
    offsets: Vec<u32>,
}

impl Tail {
    pub(super) fn new(base: u64, first_index: u64) -> Self {
        Self { base, first_index, next_index: first_index, ..Self::default() }
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Takes in the messages of one entry. A payload that can't be read ends it: apply has read it before, so the log
    /// or this program is broken.
    pub(super) fn extend(&mut self, payload: &[u8], hasher: Hasher) -> Result<(), String> {
        let parts = Payload::parse(payload).map_err(|error| error.to_string())?;
        for message in Messages::new(parts.messages) {
            let (_, shape, bytes) = message.map_err(|error| error.to_string())?;
            let position = shape.physical_offset(bytes).cast_unsigned();
            let offset = position.checked_sub(self.base).and_then(|offset| u32::try_from(offset).ok());
            let offset =
                offset.ok_or_else(|| format!("message at {position} in the segment {}", self.base))?;
            let (before, topic) = (self.count, shape.topic(bytes));
            for key in keys_of_message(&shape, bytes) {
                self.push(hasher(topic, key), offset);
            }
            if self.count > before {
                let time = shape.store_timestamp(bytes);
                if self.newest.is_none() {
                    self.first_time = time;
                }
                self.newest = Some(Newest { time, position });
            }
        }
        Ok(())
    }

    fn push(&mut self, hash: u64, offset: u32) {
        if self.chunks.last().is_none_or(|chunk| chunk.hashes.len() == CHUNK_ENTRIES) {
            let (hashes, offsets) = (Vec::with_capacity(CHUNK_ENTRIES), Vec::with_capacity(CHUNK_ENTRIES));
            self.chunks.push(Chunk { hashes, offsets });
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.hashes.push(hash);
            chunk.offsets.push(offset);
            self.count += 1;
        }
    }

    /// Appends what another tail holds that goes on where this one ends.
    pub(super) fn append(&mut self, mut other: Tail) {
        assert!(
            other.first_index == self.next_index && other.base == self.base,
            "keys of entry {} follow those of entry {}",
            other.first_index,
            self.next_index
        );
        if self.newest.is_none() {
            self.first_time = other.first_time;
        }
        self.newest = other.newest.or(self.newest);
        self.next_index = other.next_index;
        for chunk in other.chunks.drain(..) {
            for (hash, offset) in chunk.hashes.into_iter().zip(chunk.offsets) {
                self.push(hash, offset);
            }
        }
    }

    /// Positions of messages that may have the key, oldest first.
    pub(super) fn positions(&self, hash: u64, found: &mut Vec<u64>) {
        for chunk in &self.chunks {
            let places = chunk.hashes.iter().zip(&chunk.offsets);
            found.extend(
                places.filter(|(known, _)| **known == hash).map(|(_, offset)| self.base + u64::from(*offset)),
            );
        }
    }

    /// All keys, as a file holds them: by hash, then by position.
    pub(super) fn sorted(&self) -> Vec<(u64, u32)> {
        let mut all = Vec::with_capacity(self.count);
        for chunk in &self.chunks {
            all.extend(chunk.hashes.iter().copied().zip(chunk.offsets.iter().copied()));
        }
        all.sort_unstable();
        all
    }
}

/// What a reader of the log shows of one entry.
#[derive(Debug, Clone, Copy)]
pub struct LogEntry<'a> {
    pub index: u64,
    /// Absent in entries of the group's own.
    pub payload: Option<&'a [u8]>,
}

/// Takes entries one after the other.
pub type VisitEntry<'a> = dyn FnMut(LogEntry<'_>) -> ControlFlow<()> + 'a;

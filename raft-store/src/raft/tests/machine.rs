//! The machine of these tests: a chain of hashes over everything applied, and a stamper that numbers payloads.
//!
//! A payload is `number u64 | tag u64 | filler`. The stamper writes the number; the machine asserts it, so a hole, a
//! repetition or a lost retraction of the tail table stops the test.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use crate::raft::api::{Applied, InstallError, Machine};
use crate::record::RECORD_HEADER_SIZE;
use crate::types::{EntryKind, StampError, Stamper};

/// What a test may look at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Hash over all entries.
    pub(super) hash: u64,
    /// Application entries.
    pub(super) count: u64,
    pub(super) index: Option<u64>,
    /// Tags in the order applied here; those below an installed checkpoint are missing.
    pub(super) tags: Vec<u64>,
    /// Entries (with the count before them) since the last installation.
    pub(super) installed_at: Vec<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Chain {
    hash: u64,
    count: u64,
    index: Option<u64>,
    view: Arc<Mutex<View>>,
}

impl Chain {
    pub(super) fn new() -> (Chain, Arc<Mutex<View>>) {
        let chain = Chain::default();
        let view = Arc::clone(&chain.view);
        (chain, view)
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

/// The answer: the number of the payload, and the hash behind it.
pub(super) type Answer = (u64, u64);

impl Machine for Chain {
    type Answer = Answer;

    fn apply(&mut self, entry: &Applied<'_>) -> Answer {
        let expected = self.index.map_or(0, |index| index + 1);
        assert_eq!(entry.index, expected, "entries are applied one after the other");
        assert_eq!(entry.payload_position, entry.position + RECORD_HEADER_SIZE as u64);
        self.index = Some(entry.index);
        self.hash = mix(mix(self.hash, entry.term), entry.position);
        let mut view = self.view.lock();
        match entry.kind {
            EntryKind::Application => {
                let (number, tag) = read(entry.payload);
                assert_eq!(number, self.count, "numbers are dense");
                self.count += 1;
                self.hash = mix(self.hash, tag);
                view.tags.push(tag);
            }
            EntryKind::Blank | EntryKind::Membership => {}
        }
        (view.hash, view.count, view.index) = (self.hash, self.count, self.index);
        (self.count.wrapping_sub(1), self.hash)
    }

    fn checkpoint(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let (hash, count, index) = (self.hash, self.count, self.index);
        Box::new(move || {
            let mut out = Vec::new();
            out.put_u64_le(count);
            out.put_u64_le(hash);
            out.put_u64_le(index.map_or(0, |index| index + 1));
            out
        })
    }

    fn install(&mut self, checkpoint: &[u8]) -> Result<(), InstallError> {
        let word = |at: usize| match checkpoint.get(at..at + 8) {
            Some(bytes) => u64::from_le_bytes(bytes.try_into().unwrap()),
            None => 0,
        };
        (self.count, self.hash, self.index) = (word(0), word(8), word(16).checked_sub(1));
        let mut view = self.view.lock();
        (view.hash, view.count, view.index) = (self.hash, self.count, self.index);
        view.tags.clear();
        if !checkpoint.is_empty() {
            view.installed_at.push(self.count);
        }
        Ok(())
    }
}

fn read(payload: &[u8]) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
    (word(0), word(8))
}

/// A payload with head room.
pub(super) fn payload(tag: u64, size: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(RECORD_HEADER_SIZE + size.max(16));
    out.put_bytes(0, RECORD_HEADER_SIZE + 8);
    out.put_u64_le(tag);
    out.put_bytes(7, size.saturating_sub(16));
    out.freeze()
}

/// Numbers payloads along the tail of the log.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    next: u64,
}

impl Stamper for Numbering {
    fn stamp(&mut self, payload: &mut [u8], _position: u64, _time_ms: u64) -> Result<(), StampError> {
        payload[..8].copy_from_slice(&self.next.to_le_bytes());
        self.next += 1;
        Ok(())
    }

    fn observe(&mut self, payload: &[u8], _position: u64, _time_ms: u64) -> Result<(), StampError> {
        let (number, _) = read(payload);
        if number != self.next {
            return Err(StampError::new(format!("payload has number {number}, {} is next", self.next)));
        }
        self.next += 1;
        Ok(())
    }

    fn retract(&mut self, payload: &[u8]) {
        let (number, _) = read(payload);
        assert_eq!(number + 1, self.next, "entries are taken back from the last to the first");
        self.next = number;
    }

    fn reset(&mut self, state: &[u8]) -> Result<(), StampError> {
        self.next = state.get(..8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        Ok(())
    }
}

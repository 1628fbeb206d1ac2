//! Reads along on the connections of a group: the promises that leave a node are those that it must keep.
//!
//! The layouts are those of `raft-store/src/raft/network`: a hello with its purpose, then control messages or answers to
//! append requests.

use bytes::{Buf, BytesMut};

/// Purposes of connections, as the hello numbers them.
const CONTROL: u8 = 1;
const ENTRIES: u8 = 2;
/// Kind of a vote's message.
const VOTE: u8 = 2;
const VOTE_ANSWER_SIZE: usize = 17 + 17 + 1;
const APPEND_ANSWER_SIZE: usize = 35;

/// A promise that left a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The host has voted for a node.
    Granted {
        /// Who voted.
        host: usize,
        /// In which term.
        term: u64,
        /// For which full node id.
        candidate: u64,
    },
    /// The host has told its leader that it holds the log up to this entry.
    Acknowledged {
        /// Who holds it.
        host: usize,
        /// The entry's term.
        term: u64,
        /// The entry's index.
        index: u64,
    },
}

/// What was read along on one direction so far.
pub struct Overheard {
    forward: bool,
    greeted: bool,
    purpose: Option<u8>,
    buffer: BytesMut,
}

impl Overheard {
    pub(super) fn new(forward: bool) -> Self {
        Self { forward, greeted: false, purpose: None, buffer: BytesMut::new() }
    }

    /// What the connection is for; known where the hello passed.
    pub(super) fn purpose(&self) -> Option<u8> {
        self.purpose
    }

    /// Takes bytes that `host` has written; `purpose` is what the other direction knows.
    pub(super) fn hear(&mut self, purpose: Option<u8>, host: usize, bytes: &[u8], heard: &mut Vec<Heard>) {
        if self.forward {
            // Only the hello tells something here: `len u32 | magic 8 | version u16 | purpose u8`.
            if self.purpose.is_none() {
                self.buffer.extend_from_slice(bytes);
                self.purpose = self.buffer.get(14).copied();
            }
            return;
        }
        if self.greeted && !matches!(purpose, Some(CONTROL | ENTRIES)) {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        if !self.greeted {
            if !self.skip_framed() {
                return;
            }
            self.greeted = true;
        }
        match purpose {
            Some(CONTROL) => self.hear_control(host, heard),
            Some(ENTRIES) => self.hear_answers(host, heard),
            _ => self.buffer.clear(),
        }
    }

    fn skip_framed(&mut self) -> bool {
        let Some(size) = self.framed_size() else { return false };
        self.buffer.advance(4 + size);
        true
    }

    /// Size of the whole message at the front, its length field not counted.
    fn framed_size(&self) -> Option<usize> {
        let size = u32::from_le_bytes(self.buffer.get(..4)?.try_into().ok()?) as usize;
        (self.buffer.len() >= 4 + size).then_some(size)
    }

    fn hear_control(&mut self, host: usize, heard: &mut Vec<Heard>) {
        while let Some(size) = self.framed_size() {
            let mut message = self.buffer.split_to(4 + size);
            message.advance(4);
            let kind = message.get_u8();
            message.advance(4);
            if kind == VOTE && message.len() == VOTE_ANSWER_SIZE && message[VOTE_ANSWER_SIZE - 1] == 1 {
                let (term, candidate) = (message.get_u64_le(), message.get_u64_le());
                heard.push(Heard::Granted { host, term, candidate });
            }
        }
    }

    fn hear_answers(&mut self, host: usize, heard: &mut Vec<Heard>) {
        while self.buffer.len() >= APPEND_ANSWER_SIZE {
            let mut answer = self.buffer.split_to(APPEND_ANSWER_SIZE);
            let (kind, present) = (answer.get_u8(), answer.get_u8());
            if kind == 0 && present == 1 {
                let (term, index) = (answer.get_u64_le(), answer.get_u64_le());
                heard.push(Heard::Acknowledged { host, term, index });
            }
        }
    }
}

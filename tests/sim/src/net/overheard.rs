//! Reads along on the connections of a group: the promises that leave a node are those that it must keep.
//!
//! The layouts are those of `raft-store/src/raft/network`: a hello with its purpose, then control messages or answers to
//! append requests. They are written down here once more, since a judge who read with the product's own eyes would see what the
//! product sees; what doesn't fit them is a finding, and so is a run in which nothing was heard (`judge.rs`).

use bytes::{Buf, BytesMut};

/// Purposes of connections, as the hello numbers them.
const CONTROL: u8 = 1;
const ENTRIES: u8 = 2;
/// Kind of a vote's message.
const VOTE: u8 = 2;
const LOG_ID_SIZE: usize = 1 + 8 + 8;
const VOTE_SIZE: usize = 8 + 8 + 1;
const VOTE_ANSWER_SIZE: usize = VOTE_SIZE + LOG_ID_SIZE + 1;
const APPEND_ANSWER_SIZE: usize = 1 + LOG_ID_SIZE + VOTE_SIZE;
/// Kinds of answers to an append request.
const MATCHED: u8 = 0;
const CONFLICT: u8 = 1;
const HIGHER_VOTE: u8 = 2;

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
    /// The host has said what no layout known here has: whoever reads along has gone deaf.
    Unreadable {
        /// Who spoke.
        host: usize,
    },
}

/// An answer to an append request in a layout that is not known here.
struct Unreadable;

/// What an answer promises: `kind u8 | log id 17 | vote 17`, where only that part is not zero which the kind speaks of. Bytes
/// that are not so were read at the wrong place, or mean something else by now.
fn heard_in_answer(host: usize, mut answer: &[u8]) -> Result<Option<Heard>, Unreadable> {
    let kind = answer.get_u8();
    let (id, vote) = answer.split_at(LOG_ID_SIZE);
    let blank = |part: &[u8]| part.iter().all(|byte| *byte == 0);
    let (present, mut id) = (id[0], &id[1..]);
    match (kind, present) {
        (MATCHED, 1) if blank(vote) => {
            Ok(Some(Heard::Acknowledged { host, term: id.get_u64_le(), index: id.get_u64_le() }))
        }
        (MATCHED, 0) if blank(id) && blank(vote) => Ok(None),
        (CONFLICT, 1) if blank(vote) => Ok(None),
        (HIGHER_VOTE, 0) if blank(id) => Ok(None),
        _ => Err(Unreadable),
    }
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
            // An empty answer: there is none.
            if kind != VOTE || message.is_empty() {
                continue;
            }
            if message.len() != VOTE_ANSWER_SIZE {
                heard.push(Heard::Unreadable { host });
            } else if message[VOTE_ANSWER_SIZE - 1] == 1 {
                let (term, candidate) = (message.get_u64_le(), message.get_u64_le());
                heard.push(Heard::Granted { host, term, candidate });
            }
        }
    }

    fn hear_answers(&mut self, host: usize, heard: &mut Vec<Heard>) {
        while self.buffer.len() >= APPEND_ANSWER_SIZE {
            let answer = self.buffer.split_to(APPEND_ANSWER_SIZE);
            match heard_in_answer(host, &answer) {
                Ok(Some(acknowledged)) => heard.push(acknowledged),
                Ok(None) => {}
                Err(Unreadable) => heard.push(Heard::Unreadable { host }),
            }
        }
    }
}

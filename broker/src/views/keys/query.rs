//! Finds messages by key: candidates by hash, newest first, and then the messages themselves.
//!
//! A candidate is believed only when the message that lies there has the topic and the key, so that hashes that collide cost
//! reads and never a wrong answer. Store times never fall along the log, so of a key's candidates those in a time window are found
//! by a binary search.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use flotilla_core::MessageShape;
use tracing::warn;

use super::hash::keys_of_message;
use super::keeper::{Keeper, Look};
use super::tail::Newest;

/// Messages read for one query beyond those that it gives: only forced collisions come near it.
const READS_MAX: usize = 20_000;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct KeyQuery<'a> {
    pub topic: &'a str,
    pub key: &'a str,
    /// Store times in ms, both included.
    pub begin: i64,
    pub end: i64,
    pub count_max: usize,
    /// Bytes of all messages together, unless the newest alone is larger.
    pub bytes_max: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyAnswer {
    /// The newest messages that fit, oldest first.
    // Source: RocketMQ 5.3 DefaultMessageStore#queryMessage sorts the newest positions before it reads them.
    pub messages: Vec<Bytes>,
    /// The newest message in the index.
    pub newest: Newest,
}

/// Gives the stored message at a position, when one can be read there.
pub type ReadMessage<'a> = dyn Fn(u64) -> Option<Bytes> + 'a;

struct Search<'a> {
    query: &'a KeyQuery<'a>,
    read: &'a ReadMessage<'a>,
    messages: Vec<Bytes>,
    bytes: usize,
    reads: usize,
}

/// Looks in memory and in the files; `readable` are the positions that still count.
///
/// # Errors
/// `WouldBlock` when a file was found damaged: it is being rebuilt, ask again soon. Otherwise what reading a file gave.
pub(super) fn find(
    keeper: &Keeper,
    hash: u64,
    query: &KeyQuery<'_>,
    readable: &Range<u64>,
    read: &ReadMessage<'_>,
) -> io::Result<KeyAnswer> {
    let Look { parts, in_memory, newest } = keeper.look(hash);
    let mut search = Search { query, read, messages: Vec::new(), bytes: 0, reads: 0 };
    let mut goes_on = search.among(in_memory, readable, false);
    let mut positions = Vec::new();
    for part in parts {
        // Files get older from here on.
        if !goes_on || part.newest.is_some_and(|newest| newest.time < query.begin) {
            break;
        }
        if part.newest.is_none() || part.first_time > query.end {
            continue;
        }
        positions.clear();
        part.positions(hash, &mut positions)?;
        let within =
            query.begin <= part.first_time && part.newest.is_some_and(|newest| newest.time <= query.end);
        goes_on = search.among(std::mem::take(&mut positions), readable, within);
    }
    if search.reads >= READS_MAX {
        warn!(
            topic = query.topic,
            reads = search.reads,
            "a query by key gave up: too many keys share a hash"
        );
    }
    search.messages.reverse();
    Ok(KeyAnswer { messages: search.messages, newest: newest.unwrap_or_default() })
}

impl Search<'_> {
    /// Takes what fits of some candidates, oldest first in the list; `within` when all of them lie in the time window. False
    /// when no more is wanted.
    fn among(&mut self, mut positions: Vec<u64>, readable: &Range<u64>, within: bool) -> bool {
        positions.retain(|position| readable.contains(position));
        // A message can name a key twice.
        positions.dedup();
        let (mut from, mut to) = (0, positions.len());
        if !within {
            to = self.first_after(&positions, |time| time > self.query.end);
            from = self.first_after(&positions[..to], |time| time >= self.query.begin);
        }
        for position in positions[from..to].iter().rev() {
            if self.messages.len() == self.query.count_max || self.reads >= READS_MAX {
                return false;
            }
            self.reads += 1;
            let Some(message) = (self.read)(*position) else { continue };
            if !has_key(&message, self.query.topic, self.query.key) {
                continue;
            }
            if !self.messages.is_empty() && self.bytes + message.len() > self.query.bytes_max {
                return false;
            }
            self.bytes += message.len();
            self.messages.push(message);
        }
        self.messages.len() < self.query.count_max
    }

    /// Number of candidates before the first whose time is so. One that can't be read any more counts as too old.
    fn first_after(&self, positions: &[u64], so: impl Fn(i64) -> bool) -> usize {
        positions.partition_point(|position| {
            let message = (self.read)(*position);
            let time = message.and_then(|message| {
                MessageShape::parse(&message).ok().map(|shape| shape.store_timestamp(&message))
            });
            !time.is_some_and(&so)
        })
    }
}

fn has_key(message: &[u8], topic: &str, key: &str) -> bool {
    MessageShape::parse(message).is_ok_and(|shape| {
        shape.topic(message) == topic.as_bytes()
            && keys_of_message(&shape, message).any(|known| known == key.as_bytes())
    })
}

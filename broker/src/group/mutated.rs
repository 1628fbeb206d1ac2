//! What two mutants need (feature `faults`): a look at the messages of an entry as soon as its leader has numbered them, long
//! before anybody knows whether the entry will be committed.
//!
//! Kept for the whole process, since a mutant is one: entries that wait to be answered, by their bytes before they were numbered,
//! and the messages of each queue that were numbered last. Both are bounded; a send that falls out is never answered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use flotilla_core::{Messages, Payload};
use flotilla_mutants::{self as mutants, Mutant};
use flotilla_raft_store::RECORD_HEADER_SIZE;
use parking_lot::Mutex;

use super::machine::Place;
use super::work::SendWork;
use crate::handlers::send_answer::SendAnswers;

/// Entries that wait.
const WAITING_MAX: usize = 4096;
/// Messages of one queue.
const SEEN_MAX: usize = 1024;

/// A place that is told of a message that was never stored.
pub const NOWHERE: Place = Place { queue_offset: 0, physical_offset: 0 };

/// Sends of one entry.
struct Waiting {
    payload: Bytes,
    sends: Vec<SendWork>,
    answers: Arc<SendAnswers>,
}

type Seen = HashMap<(String, u32), BTreeMap<i64, Bytes>>;

static WAITING: Mutex<VecDeque<Waiting>> = Mutex::new(VecDeque::new());
static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(Mutex::default);

/// As `ack-before-quorum`: keeps the sends of an entry to answer them when it is numbered. Gives those that are to be answered as
/// ever.
pub fn answered_when_stamped(
    payload: &Bytes,
    sends: Vec<SendWork>,
    answers: &Arc<SendAnswers>,
) -> Vec<SendWork> {
    if !mutants::on(Mutant::AckBeforeQuorum) || sends.is_empty() {
        return sends;
    }
    // A copy: the entry is numbered in the buffer that it came in.
    let payload = Bytes::copy_from_slice(&payload[RECORD_HEADER_SIZE..]);
    let mut waiting = WAITING.lock();
    if waiting.len() >= WAITING_MAX {
        waiting.pop_front();
    }
    waiting.push_back(Waiting { payload, sends, answers: Arc::clone(answers) });
    Vec::new()
}

/// The payload of an entry that is about to be numbered, where a mutant wants to know it.
pub fn before(payload: &[u8]) -> Vec<u8> {
    if mutants::on(Mutant::AckBeforeQuorum) { payload.to_vec() } else { Vec::new() }
}

/// An entry was numbered by its leader.
pub fn stamped(before: &[u8], payload: &[u8]) {
    let serves = mutants::on(Mutant::ServeUncommitted);
    if before.is_empty() && !serves {
        return;
    }
    let Ok(parts) = Payload::parse(payload) else { return };
    let mut places = Vec::new();
    for (_, shape, bytes) in
        Messages::new(parts.messages).flatten().filter(|(_, shape, _)| shape.is_numbered())
    {
        let queue_offset = shape.queue_offset(bytes);
        places.push(Place { queue_offset, physical_offset: shape.physical_offset(bytes) });
        if serves {
            let bytes = Bytes::copy_from_slice(&bytes[..shape.size as usize]);
            let topic = String::from_utf8_lossy(shape.topic(&bytes)).into_owned();
            let mut seen = SEEN.lock();
            let queue = seen.entry((topic, shape.queue_id)).or_default();
            queue.insert(queue_offset, bytes);
            if queue.len() > SEEN_MAX {
                queue.pop_first();
            }
        }
    }
    let mut waiting = WAITING.lock();
    let at = waiting.iter().position(|entry| entry.payload == before);
    if let Some(entry) = at.and_then(|at| waiting.remove(at)) {
        entry.answers.stored(entry.sends, &places);
    }
}

/// As `serve-uncommitted`: the message to which this leader gave this number, whether or not anybody else knows it.
pub fn uncommitted(topic: &str, queue_id: u32, offset: i64) -> Option<Bytes> {
    if !mutants::on(Mutant::ServeUncommitted) {
        return None;
    }
    SEEN.lock().get(&(topic.to_owned(), queue_id))?.get(&offset).cloned()
}

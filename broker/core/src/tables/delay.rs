//! How far delayed messages are delivered.
//!
//! A delayed message is an ordinary message of the schedule topic, in the queue of its level. What this table adds: the number of the
//! first one in each queue that is not delivered yet, and under which list of delays it was stored. Both move by entries
//! only, the number together with the delivered messages themselves ([`crate::Command::DelayDone`]), so no fail-over delivers one
//! twice or none.

use std::collections::BTreeMap;

use crate::codec::{
    CodecError, CodecReason, Decode, Encode, Reader, put_count, put_i64, put_list, put_u32, put_u64,
};
use crate::command::DelayDone;
use crate::effects::{Answer, Refusal};
use crate::limits::{DELAY_LISTS_MAX, QUEUES_PER_TOPIC_MAX};
use crate::model::{DataVersion, DelayLevels};

/// The table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DelayTable {
    queues: BTreeMap<u32, Progress>,
    /// Lists that were in force before the one in the settings, oldest first, while a message may wait that was stored then.
    former: Vec<FormerLevels>,
    version: DataVersion,
}

/// One queue of the schedule topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    /// Number of the first message that is not delivered.
    next: i64,
    /// No message that waits here lies below this log position.
    position: u64,
}

/// A list of delays and the log position at which it was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FormerLevels {
    until: u64,
    levels: DelayLevels,
}

/// Where one delay level stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayProgress {
    /// Queue of the schedule topic: the level less 1.
    pub queue_id: u32,
    /// Number of the first message that is not delivered.
    pub next: i64,
    /// Next number of the queue.
    pub max: i64,
}

impl DelayProgress {
    pub fn level(&self) -> u32 {
        self.queue_id + 1
    }

    /// Messages that wait.
    pub fn pending(&self) -> u64 {
        u64::try_from(self.max - self.next).unwrap_or(0)
    }
}

/// The delays of all messages that wait: a message keeps the delay that its level had when it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayHistory {
    former: Vec<FormerLevels>,
    current: DelayLevels,
}

impl DelayHistory {
    /// Delay of a message by its queue in the schedule topic and its log position.
    pub fn delay_ms(&self, queue_id: u32, position: u64) -> u64 {
        let then = self.former.iter().find(|former| position < former.until);
        then.map_or(&self.current, |former| &former.levels).delay_ms(queue_id)
    }
}

impl DelayTable {
    pub(super) fn next(&self, queue_id: u32) -> i64 {
        self.queues.get(&queue_id).map_or(0, |progress| progress.next)
    }

    pub(super) fn version(&self) -> DataVersion {
        self.version
    }

    pub(super) fn history(&self, current: &DelayLevels) -> DelayHistory {
        DelayHistory { former: self.former.clone(), current: current.clone() }
    }

    /// Takes note of a message that was stored in a queue; true when none waited there before.
    pub(super) fn arrived(&mut self, queue_id: u32, queue_offset: i64, physical_offset: i64) -> bool {
        let progress = self.queues.entry(queue_id).or_default();
        let first = queue_offset == progress.next;
        if first {
            progress.position = physical_offset.cast_unsigned();
        }
        first
    }

    /// Moves a queue on; `max` is its next number. An order that no correct leader gives is refused: the messages in the entry
    /// stand whatever is decided here, so a number below the table's means that some were delivered twice, one above it that
    /// some were passed over, and those are kept.
    pub(super) fn done(&mut self, done: &DelayDone, max: i64, time_ms: u64) -> Answer {
        let DelayDone { queue_id, from, to, position } = *done;
        let next = self.next(queue_id);
        let refused = Answer::Refused(Refusal::DelayOrder { queue_id, expected: next, found: from });
        if from > next || to <= next || to > max {
            return refused;
        }
        let progress = self.queues.entry(queue_id).or_default();
        progress.next = to;
        progress.position = progress.position.max(position);
        self.version.advance(time_ms);
        if from == next { Answer::Done } else { refused }
    }

    /// The list in the settings was replaced by an entry that ends at `until`.
    pub(super) fn replaced(&mut self, levels: DelayLevels, until: u64) {
        if self.former.last().is_some_and(|last| last.until == until) {
            // Replaced twice by one entry: nothing was stored in between.
            return;
        }
        self.former.push(FormerLevels { until, levels });
        if self.former.len() > DELAY_LISTS_MAX {
            let oldest = self.former.remove(0);
            self.former[0].levels = self.former[0].levels.longer(&oldest.levels);
        }
    }

    /// Drops the lists under which no waiting message was stored.
    pub(super) fn forget_lists(&mut self, floor: Option<u64>) {
        if !self.former.is_empty() {
            self.former.retain(|former| floor.is_some_and(|floor| former.until > floor));
        }
    }

    /// Lowest position that a message waiting in one of the queues can have; `max` gives each queue's next number.
    pub(super) fn floor(&self, max: impl Fn(u32) -> i64) -> Option<u64> {
        let waiting = self.queues.iter().filter(|(queue_id, progress)| progress.next < max(**queue_id));
        waiting.map(|(_, progress)| progress.position).min()
    }
}

impl Encode for FormerLevels {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.until);
        self.levels.encode(out);
    }
}

impl Decode for FormerLevels {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { until: input.u64("end of a list of delays")?, levels: DelayLevels::decode(input)? })
    }
}

impl Encode for DelayTable {
    fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.queues.len());
        for (queue_id, progress) in &self.queues {
            put_u32(out, *queue_id);
            put_i64(out, progress.next);
            put_u64(out, progress.position);
        }
        put_list(out, &self.former);
        self.version.encode(out);
    }
}

impl Decode for DelayTable {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let start = input.clone();
        let queues = input.list("delay queues", 20, |input| {
            let queue_id = input.u32("delay queue id")?;
            let progress =
                Progress { next: input.i64("next delayed message")?, position: input.u64("delay position")? };
            Ok((queue_id, progress))
        })?;
        let rising = queues.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let sound =
            queues.iter().all(|(queue_id, progress)| *queue_id < QUEUES_PER_TOPIC_MAX && progress.next >= 0);
        if !rising || !sound {
            return Err(start.error("delay queues", CodecReason::Order));
        }
        let former = input.list("former delays", 20, FormerLevels::decode)?;
        if former.len() > DELAY_LISTS_MAX || !former.windows(2).all(|pair| pair[0].until < pair[1].until) {
            return Err(input.error("former delays", CodecReason::Order));
        }
        Ok(Self { queues: queues.into_iter().collect(), former, version: DataVersion::decode(input)? })
    }
}

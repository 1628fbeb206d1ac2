//! Locks of ordered consumption: which client of a group may consume a queue alone.
//!
//! The tables hold owners and nothing of time: how long a lock lasts without a renewal is measured by the leader, on its own
//! clock, and each change it decides on names what it saw. A claim takes a queue only from the very grant that the leader saw
//! ending, in the leader's own term, so that neither a renewal nor another claim that came first in the log is overridden.
// Source of the rules of ownership: RocketMQ 5.3 RebalanceLockManager.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Tables;
use crate::codec::{CodecError, Decode, Encode, Reader, put_bool, put_count, put_text, put_u32, put_u64};
use crate::effects::{Answer, Refusal};
use crate::limits::{LOCKS_MAX, QUEUES_PER_TOPIC_MAX};

/// Who holds a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLock {
    pub client_id: Arc<str>,
    /// What gave it to the client, or confirmed it last.
    pub grant: Grant,
}

/// The name of a grant, given by the leader that decided it and never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grant {
    pub term: u64,
    /// Counts within the term.
    pub number: u64,
}

/// Locks of one group: topic, queue id, owner. Never empty inside the tables.
pub(crate) type GroupLocks = BTreeMap<Arc<str>, BTreeMap<u32, QueueLock>>;

/// A client takes queues. Body of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockQueues {
    pub group: Arc<str>,
    pub client_id: Arc<str>,
    /// The name of what this gives. Without effect in another term than its own.
    pub grant: Grant,
    pub queues: Vec<LockClaim>,
}

/// A queue that a client takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockClaim {
    pub topic: Arc<str>,
    pub queue_id: u32,
    /// The grant that the leader saw and that ends by this; absent when the queue was free. Another one is left as it is.
    pub previous: Option<Grant>,
}

/// Queues become free. Body of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlockQueues {
    pub group: Arc<str>,
    /// Only what this client holds.
    pub client_id: Arc<str>,
    /// As for a claim: in another term the client may have been told again that it holds them.
    pub term: u64,
    pub queues: Vec<UnlockClaim>,
}

/// A queue that becomes free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlockClaim {
    pub topic: Arc<str>,
    pub queue_id: u32,
    /// Only this grant: a later one of the same client stays.
    pub grant: Grant,
}

impl Tables {
    /// Who holds a queue.
    pub fn lock(&self, group: &str, topic: &str, queue_id: u32) -> Option<&QueueLock> {
        self.locks.get(group)?.get(topic)?.get(&queue_id)
    }

    /// All locks of a group: topic, queue id, owner.
    pub fn locks(&self, group: &str) -> impl Iterator<Item = (&Arc<str>, u32, &QueueLock)> {
        self.locks
            .get(group)
            .into_iter()
            .flatten()
            .flat_map(|(topic, queues)| queues.iter().map(move |(queue_id, lock)| (topic, *queue_id, lock)))
    }

    /// All locks, in order of the groups: group, topic, queue id, owner.
    pub fn all_locks(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, u32, &QueueLock)> {
        self.locks.sorted().into_iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, queues)| {
                queues.iter().map(move |(queue_id, lock)| (group, topic, *queue_id, lock))
            })
        })
    }

    /// Number of locked queues, over all groups.
    pub fn lock_count(&self) -> usize {
        self.lock_count
    }

    pub(super) fn lock_queues(&mut self, command: LockQueues) -> Answer {
        let LockQueues { group, client_id, grant, queues } = command;
        if grant.term != self.applied.term {
            return Answer::Refused(Refusal::OtherTerm { decided: grant.term, applied: self.applied.term });
        }
        let mut moved = false;
        for claim in queues.into_iter().filter(|claim| claim.queue_id < QUEUES_PER_TOPIC_MAX) {
            let found = self.lock(&group, &claim.topic, claim.queue_id).map(|lock| lock.grant);
            if found != claim.previous || (found.is_none() && self.lock_count >= LOCKS_MAX) {
                continue;
            }
            let lock = QueueLock { client_id: client_id.clone(), grant };
            let topics = self.locks.get_or_insert_with(&group, |_| GroupLocks::new());
            if topics.entry(claim.topic).or_default().insert(claim.queue_id, lock).is_none() {
                self.lock_count += 1;
            }
            moved = true;
        }
        if moved { Answer::Done } else { Answer::Unchanged }
    }

    pub(super) fn unlock_queues(&mut self, command: UnlockQueues) -> Answer {
        let UnlockQueues { group, client_id, term, queues } = command;
        if term != self.applied.term {
            return Answer::Refused(Refusal::OtherTerm { decided: term, applied: self.applied.term });
        }
        let Some(topics) = self.locks.get_mut(&group) else { return Answer::Unchanged };
        let mut freed = 0;
        for claim in queues {
            let Some(locks) = topics.get_mut(&claim.topic) else { continue };
            let meant = locks
                .get(&claim.queue_id)
                .is_some_and(|lock| lock.client_id == client_id && lock.grant == claim.grant);
            if meant {
                locks.remove(&claim.queue_id);
                freed += 1;
                if locks.is_empty() {
                    topics.remove(&claim.topic);
                }
            }
        }
        if topics.is_empty() {
            self.locks.remove(&group);
        }
        self.lock_count -= freed;
        if freed > 0 { Answer::Done } else { Answer::Unchanged }
    }
}

pub(super) fn encode_locks(out: &mut Vec<u8>, group: &Arc<str>, topics: &GroupLocks) {
    put_text(out, group);
    put_count(out, topics.len());
    for (topic, queues) in topics {
        put_text(out, topic);
        put_count(out, queues.len());
        for (queue_id, lock) in queues {
            put_u32(out, *queue_id);
            put_text(out, &lock.client_id);
            lock.grant.encode(out);
        }
    }
}

pub(super) fn decode_locks(input: &mut Reader<'_>) -> Result<(Arc<str>, GroupLocks), CodecError> {
    let group = input.name("group")?;
    let topics = input.list("locked topics", 8, |input| {
        let topic = input.name("topic")?;
        let queues = input.list("locks", 24, |input| {
            let queue_id = input.u32("queue id")?;
            let lock = QueueLock { client_id: input.name("client id")?, grant: Grant::decode(input)? };
            Ok((queue_id, lock))
        })?;
        Ok((topic, queues.into_iter().collect()))
    })?;
    Ok((group, topics.into_iter().collect()))
}

pub(super) fn count(topics: &GroupLocks) -> usize {
    topics.values().map(BTreeMap::len).sum()
}

impl Encode for LockQueues {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.group);
        put_text(out, &self.client_id);
        self.grant.encode(out);
        put_count(out, self.queues.len());
        for claim in &self.queues {
            put_text(out, &claim.topic);
            put_u32(out, claim.queue_id);
            put_bool(out, claim.previous.is_some());
            if let Some(previous) = claim.previous {
                previous.encode(out);
            }
        }
    }
}

impl Decode for LockQueues {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            group: input.name("group")?,
            client_id: input.name("client id")?,
            grant: Grant::decode(input)?,
            queues: input.list("claims", 9, |input| {
                Ok(LockClaim {
                    topic: input.name("topic")?,
                    queue_id: input.u32("queue id")?,
                    previous: input.optional("previous grant", Grant::decode)?,
                })
            })?,
        })
    }
}

impl Encode for UnlockQueues {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.group);
        put_text(out, &self.client_id);
        put_u64(out, self.term);
        put_count(out, self.queues.len());
        for claim in &self.queues {
            put_text(out, &claim.topic);
            put_u32(out, claim.queue_id);
            claim.grant.encode(out);
        }
    }
}

impl Decode for UnlockQueues {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            group: input.name("group")?,
            client_id: input.name("client id")?,
            term: input.u64("term")?,
            queues: input.list("freed queues", 24, |input| {
                Ok(UnlockClaim {
                    topic: input.name("topic")?,
                    queue_id: input.u32("queue id")?,
                    grant: Grant::decode(input)?,
                })
            })?,
        })
    }
}

impl Encode for Grant {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.term);
        put_u64(out, self.number);
    }
}

impl Decode for Grant {
    fn decode(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { term: input.u64("term of the grant")?, number: input.u64("number of the grant")? })
    }
}

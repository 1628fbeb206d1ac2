//! Commands about consumer offsets: commits, resets, copies.
//!
//! A reset puts the new offset into the table at once and leaves a mark. While the mark is there, commits for the queue have no
//! effect: they come from readers that have not heard of the reset, or from the one that repeats it. The mark goes when a reader
//! pulls at the new offset, not when it is told of it, because that answer may be lost with its connection and the reader would
//! then commit on from where it was.
// Source of the table, the mark and the ignored commits: RocketMQ 5.3 ConsumerOffsetManager#assignResetOffset and
// ConsumerManageProcessor#updateConsumerOffset, where the first pull takes the mark away.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sharded::Sharded;
use super::{GroupOffsets, Tables};
use crate::command::OffsetCommit;
use crate::effects::{Answer, Effects};
use crate::limits::QUEUES_PER_TOPIC_MAX;

impl Tables {
    /// Takes every offset as it is, lower ones too; the handler has checked group and topic. A queue id beyond the limit can't
    /// belong to any queue and is passed over, as is a topic that was deleted since.
    pub(super) fn commit_offsets(&mut self, commits: &[OffsetCommit], effects: &mut Effects) -> Answer {
        for commit in commits.iter().filter(|commit| commit.queue_id < QUEUES_PER_TOPIC_MAX) {
            let moving = self.reset_offset(&commit.group, &commit.topic, commit.queue_id).is_some();
            if moving || self.topic(&commit.topic).is_none() {
                continue;
            }
            put(&mut self.offsets, commit);
            effects.offsets_committed += 1;
        }
        Answer::Done
    }

    pub(super) fn reset_offsets(&mut self, resets: &[OffsetCommit], effects: &mut Effects) -> Answer {
        for reset in resets.iter().filter(|reset| reset.queue_id < QUEUES_PER_TOPIC_MAX) {
            if self.topic(&reset.topic).is_none() {
                continue;
            }
            put(&mut self.offsets, reset);
            put(&mut self.resets, reset);
            effects.offsets_committed += 1;
            effects.resets.push((reset.topic.clone(), reset.queue_id));
        }
        Answer::Done
    }

    /// Only the mark of this very offset goes: another reset may have come in between.
    pub(super) fn follow_reset(&mut self, followed: &OffsetCommit) -> Answer {
        let OffsetCommit { group, topic, queue_id, offset } = followed;
        if self.reset_offset(group, topic, *queue_id) != Some(*offset) {
            return Answer::Unchanged;
        }
        change_queues(&mut self.resets, group, topic, |queues| {
            queues.remove(queue_id);
        });
        Answer::Done
    }

    pub(super) fn clone_offsets(
        &mut self,
        source: &Arc<str>,
        target: &Arc<str>,
        topics: &[Arc<str>],
        effects: &mut Effects,
    ) -> Answer {
        if source == target {
            return Answer::Unchanged;
        }
        let mut answer = Answer::Unchanged;
        for topic in topics {
            let Some(queues) = self.offsets.get(source).and_then(|offsets| offsets.get(topic)).cloned()
            else {
                continue;
            };
            change_queues(&mut self.resets, target, topic, BTreeMap::clear);
            effects.offsets_committed += queues.len();
            let offsets = self.offsets.get_or_insert_with(target, |_| GroupOffsets::new());
            offsets.insert(topic.clone(), queues);
            answer = Answer::Done;
        }
        answer
    }

    pub(super) fn forget_offsets_of_topic(&mut self, topic: &Arc<str>) {
        for table in [&mut self.offsets, &mut self.resets] {
            let holders: Vec<Arc<str>> = table
                .iter()
                .filter(|(_, offsets)| offsets.contains_key(topic))
                .map(|(group, _)| group.clone())
                .collect();
            for group in holders {
                change_queues(table, &group, topic, BTreeMap::clear);
            }
        }
    }
}

fn put(table: &mut Sharded<GroupOffsets>, commit: &OffsetCommit) {
    let offsets = table.get_or_insert_with(&commit.group, |_| GroupOffsets::new());
    match offsets.get_mut(&commit.topic) {
        Some(queues) => {
            queues.insert(commit.queue_id, commit.offset);
        }
        None => {
            offsets.insert(commit.topic.clone(), [(commit.queue_id, commit.offset)].into());
        }
    }
}

/// Changes the queues of a group's topic where there are some, and leaves nothing empty behind.
fn change_queues(
    table: &mut Sharded<GroupOffsets>,
    group: &Arc<str>,
    topic: &Arc<str>,
    work: impl FnOnce(&mut BTreeMap<u32, i64>),
) {
    let emptied = table.get_mut(group).is_some_and(|offsets| {
        if let Some(queues) = offsets.get_mut(topic) {
            work(queues);
            if queues.is_empty() {
                offsets.remove(topic);
            }
        }
        offsets.is_empty()
    });
    if emptied {
        table.remove(group);
    }
}

//! Questions that handlers ask of the applied state. All answers borrow; none counts, locks or allocates more than it returns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flotilla_remoting::names::SCHEDULE_TOPIC;

use super::{Applied, DelayHistory, DelayProgress, Identity, Tables};
use crate::command::QueueMinimum;
use crate::model::{
    DataVersion, GroupConfig, GroupMembers, Member, QueueHead, QueueRange, Settings, TopicConfig,
};

/// A group's offsets of a topic, by queue.
#[derive(Debug, Clone, Copy)]
pub struct TopicOffsets<'a> {
    pub group: &'a Arc<str>,
    pub topic: &'a Arc<str>,
    pub queues: &'a BTreeMap<u32, i64>,
}

impl Tables {
    /// The newest applied entry; zeros before the first.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// Names of cluster and broker; absent until the bootstrap command is applied, and no client is served before.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How often the settings were changed since the group has them.
    pub fn settings_version(&self) -> DataVersion {
        self.settings_version
    }

    /// Log position below which records may be gone.
    pub fn minimum_position(&self) -> u64 {
        self.minimum_position
    }

    pub fn topic(&self, topic: &str) -> Option<&TopicConfig> {
        self.topics.get(topic)?.config.as_ref()
    }

    /// All topics that exist, in order of their names.
    pub fn topics(&self) -> Vec<&TopicConfig> {
        self.topics.sorted().into_iter().filter_map(|(_, topic)| topic.config.as_ref()).collect()
    }

    /// The topics' version; counter and time come from the log.
    pub fn topic_version(&self) -> DataVersion {
        self.topic_version
    }

    /// Head of a queue: one that an existing topic has by its configuration or by its messages. A deleted topic has none.
    pub fn queue_head(&self, topic: &str, queue_id: u32) -> Option<QueueHead> {
        let topic = self.topics.get(topic)?;
        topic.config.as_ref()?;
        topic.queue(queue_id)
    }

    /// Which numbers of a queue can be read; absent when there is no such queue.
    pub fn queue(&self, topic: &str, queue_id: u32) -> Option<QueueRange> {
        self.queue_head(topic, queue_id).map(|head| head.range())
    }

    /// First available number of a queue, also one of a deleted topic; absent when it never held a message.
    pub fn queue_minimum(&self, topic: &str, queue_id: u32) -> Option<i64> {
        let head = self.topics.get(topic)?.queues.get(queue_id as usize)?;
        (head.max > 0).then_some(head.min)
    }

    /// Next number of each queue, deleted topics included, in order: what queues begin at once this state is the retention
    /// boundary. Read from the checkpoint at the boundary, it is the content of the command that raises the minimums.
    pub fn queue_maximums(&self) -> Vec<QueueMinimum> {
        let mut all = Vec::new();
        for (name, topic) in self.topics.sorted() {
            for (queue_id, head) in (0u32..).zip(&topic.queues).filter(|(_, head)| head.max > 0) {
                all.push(QueueMinimum { topic: name.clone(), queue_id, min: head.max });
            }
        }
        all
    }

    /// Heads of all queues that ever held a message, those of deleted topics too, in no particular order.
    pub fn queue_heads(&self) -> impl Iterator<Item = (&Arc<str>, u32, &QueueHead)> {
        self.topics.iter().flat_map(|(name, topic)| {
            let numbered = (0u32..).zip(&topic.queues).filter(|(_, head)| head.max > 0);
            numbered.map(move |(queue_id, head)| (name, queue_id, head))
        })
    }

    /// Next number of a queue of the schedule topic.
    pub(super) fn schedule_max(&self, queue_id: u32) -> i64 {
        self.topics
            .get(SCHEDULE_TOPIC)
            .and_then(|topic| topic.queues.get(queue_id as usize))
            .map_or(0, |head| head.max)
    }

    /// Where the delay levels stand that ever held a message, by level. What tools show as `scheduleMessageOffset_<level>` is
    /// `next,max`.
    pub fn delay_progress(&self) -> Vec<DelayProgress> {
        let queues = self.topics.get(SCHEDULE_TOPIC).map_or(&[][..], |topic| &topic.queues);
        let used = (0u32..).zip(queues).filter(|(_, head)| head.max > 0);
        used.map(|(queue_id, head)| DelayProgress {
            queue_id,
            next: self.delay.next(queue_id),
            max: head.max,
        })
        .collect()
    }

    /// How often delivery of delayed messages has moved on.
    pub fn delay_version(&self) -> DataVersion {
        self.delay.version()
    }

    /// The delays of the messages that wait.
    pub fn delay_history(&self) -> DelayHistory {
        self.delay.history(&self.settings.delay_levels)
    }

    /// Log position below which no delayed message waits for its delivery; absent when none waits at all. Retention that goes
    /// beyond it deletes messages that were promised for later.
    pub fn delay_floor(&self) -> Option<u64> {
        self.delay.floor(|queue_id| self.schedule_max(queue_id))
    }

    pub fn group(&self, group: &str) -> Option<&GroupConfig> {
        self.groups.get(group)
    }

    /// All groups, in order of their names.
    pub fn groups(&self) -> Vec<&GroupConfig> {
        self.groups.sorted().into_iter().map(|(_, config)| config).collect()
    }

    pub fn group_version(&self) -> DataVersion {
        self.group_version
    }

    /// Members of a group; absent when it has none.
    pub fn members(&self, group: &str) -> Option<&GroupMembers> {
        self.members.get(group)
    }

    pub fn member(&self, group: &str, client_id: &str) -> Option<&Member> {
        self.members.get(group)?.members.get(client_id)
    }

    /// Groups with members, in order of their names.
    pub fn groups_with_members(&self) -> Vec<(&Arc<str>, &GroupMembers)> {
        self.members.sorted()
    }

    /// The stored consumer offset.
    pub fn consumer_offset(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        self.offsets.get(group)?.get(topic)?.get(&queue_id).copied()
    }

    /// All stored offsets of a group: topic, queue id, offset.
    pub fn consumer_offsets(&self, group: &str) -> impl Iterator<Item = (&Arc<str>, u32, i64)> {
        self.offsets.get(group).into_iter().flatten().flat_map(|(topic, queues)| {
            queues.iter().map(move |(queue_id, offset)| (topic, *queue_id, *offset))
        })
    }

    /// All stored offsets of all groups, in no particular order of the groups: group, topic, queue id, offset.
    pub fn each_consumer_offset(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, u32, i64)> {
        self.offsets.iter().flat_map(|(group, offsets)| {
            offsets.iter().flat_map(move |(topic, queues)| {
                queues.iter().map(move |(queue_id, offset)| (group, topic, *queue_id, *offset))
            })
        })
    }

    /// The offset that a reader of the queue has still to move to.
    pub fn reset_offset(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        // Hardly ever is there any: a pull asks this each time.
        if self.resets.is_empty() {
            return None;
        }
        self.resets.get(group)?.get(topic)?.get(&queue_id).copied()
    }

    /// All stored offsets, by group and topic, in order of the names.
    pub fn all_consumer_offsets(&self) -> Vec<TopicOffsets<'_>> {
        let groups = self.offsets.sorted().into_iter();
        groups
            .flat_map(|(group, topics)| {
                topics.iter().map(move |(topic, queues)| TopicOffsets { group, topic, queues })
            })
            .collect()
    }

    /// Topics for which a group has stored offsets, in order of their names.
    pub fn topics_of_group(&self, group: &str) -> impl Iterator<Item = &Arc<str>> {
        self.offsets.get(group).into_iter().flatten().map(|(topic, _)| topic)
    }

    /// Whether an administrator has forbidden the group to read the topic.
    pub fn is_read_forbidden(&self, group: &str, topic: &str) -> bool {
        !self.forbidden.is_empty() && self.forbidden.get(group).is_some_and(|topics| topics.contains(topic))
    }

    /// Groups with the topics that they may not read, in order of the names.
    pub fn forbidden_topics(&self) -> Vec<(&Arc<str>, &BTreeSet<Arc<str>>)> {
        self.forbidden.sorted()
    }

    /// Groups that have stored offsets for a topic or a member that subscribes it, in order of their names.
    pub fn groups_of_topic(&self, topic: &str) -> Vec<Arc<str>> {
        let stored =
            self.offsets.iter().filter(|(_, offsets)| offsets.contains_key(topic)).map(|(group, _)| group);
        let subscribed = self
            .members
            .iter()
            .filter(|(_, members)| members.subscription(topic).is_some())
            .map(|(group, _)| group);
        let groups: BTreeSet<&Arc<str>> = stored.chain(subscribed).collect();
        groups.into_iter().cloned().collect()
    }

    /// True when a heartbeat brings nothing new, so that no command is needed: renewals stay outside the log.
    pub fn is_renewal(&self, group: &str, member: &Member) -> bool {
        self.member(group, &member.client_id).is_some_and(|known| {
            let mut merged = member.clone();
            super::commands::keep_newer_subscriptions(&mut merged, Some(known));
            !known.differs(&merged)
        })
    }
}

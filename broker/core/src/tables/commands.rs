//! What each command does to the tables. Refusals are decided from the tables alone, so every replica refuses alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Identity, Tables, TopicState};
use crate::command::{Bootstrap, Command, DelayDone, Join, LeaveReason, QueueMinimum};
use crate::effects::{Answer, Effects, Refusal};
use crate::limits::QUEUES_PER_TOPIC_MAX;
use crate::model::{GroupConfig, GroupMembers, Member, Settings, TopicConfig};
use crate::system;

impl Tables {
    pub(super) fn apply_command(&mut self, command: Command, time_ms: u64, effects: &mut Effects) -> Answer {
        match command {
            Command::Bootstrap(bootstrap) => self.bootstrap(*bootstrap, time_ms, effects),
            Command::PutSettings(settings) => self.put_settings(settings, time_ms, effects),
            Command::CreateTopic(config) => {
                if self.topic(&config.name).is_some() {
                    return Answer::Unchanged;
                }
                self.put_topic(config, time_ms, effects)
            }
            Command::PutTopic(config) => self.put_topic(config, time_ms, effects),
            Command::DeleteTopic { topic } => self.delete_topic(&topic, time_ms, effects),
            Command::CreateGroup(config) => {
                if self.groups.get(&config.name).is_some() {
                    return Answer::Unchanged;
                }
                self.put_group(config, time_ms, effects)
            }
            Command::PutGroup(config) => self.put_group(config, time_ms, effects),
            Command::DeleteGroup { group, clean_offsets } => {
                self.delete_group(&group, clean_offsets, time_ms, effects)
            }
            Command::CommitOffsets(commits) => self.commit_offsets(&commits, effects),
            Command::Join(join) => self.join(*join, effects),
            Command::Leave { group, client_id, reason } => self.leave(group, client_id, reason, effects),
            Command::RaiseMinimum { log_position, queues } => {
                self.raise_minimum(log_position, &queues, effects)
            }
            Command::ChangeSettings(changes) => {
                let mut settings = self.settings.clone();
                changes.into_iter().for_each(|change| change.apply(&mut settings));
                self.put_settings(settings, time_ms, effects)
            }
            Command::DelayDone(done) => self.delay_done(&done, time_ms),
            Command::Lock(lock) => self.lock_queues(*lock),
            Command::Unlock(unlock) => self.unlock_queues(*unlock),
            Command::ForbidRead { group, topic, forbidden } => {
                self.forbid_read(&group, topic, forbidden, time_ms)
            }
            Command::ResetOffsets(resets) => self.reset_offsets(&resets, effects),
            Command::FollowReset(followed) => self.follow_reset(&followed),
            Command::CloneOffsets { source, target, topics } => {
                self.clone_offsets(&source, &target, &topics, effects)
            }
        }
    }

    fn bootstrap(&mut self, bootstrap: Bootstrap, time_ms: u64, effects: &mut Effects) -> Answer {
        let Bootstrap { cluster, broker, settings, topics, groups } = bootstrap;
        if let Some(identity) = &self.identity {
            if identity.cluster == cluster && identity.broker == broker {
                return Answer::Unchanged;
            }
            let Identity { cluster, broker } = identity.clone();
            return Answer::Refused(Refusal::OtherIdentity { cluster, broker });
        }
        self.identity = Some(Identity { cluster, broker });
        self.settings = settings;
        effects.settings_changed = true;
        for config in topics {
            self.put_topic(config, time_ms, effects);
        }
        for config in groups {
            self.put_group(config, time_ms, effects);
        }
        Answer::Done
    }

    fn put_settings(&mut self, settings: Settings, time_ms: u64, effects: &mut Effects) -> Answer {
        if self.settings == settings {
            return Answer::Unchanged;
        }
        self.settings_version.advance(time_ms);
        let former = std::mem::replace(&mut self.settings, settings).delay_levels;
        if former != self.settings.delay_levels {
            // Messages that wait keep the delay that they were stored with.
            self.delay.forget_lists(self.delay_floor());
            self.delay.replaced(former, self.applied.end_position);
        }
        effects.settings_changed = true;
        // Templates that exist only under a setting come and go with it.
        let Some(identity) = &self.identity else { return Answer::Done };
        let (present, absent) = system::setting_topics(&identity.cluster, &identity.broker, &self.settings);
        for config in present {
            self.put_topic(config, time_ms, effects);
        }
        for topic in absent {
            self.delete_topic(&topic, time_ms, effects);
        }
        // The permission of the broker is part of every topic as the name servers see it.
        self.topic_version.advance(time_ms);
        Answer::Done
    }

    fn put_topic(&mut self, config: TopicConfig, time_ms: u64, effects: &mut Effects) -> Answer {
        let count = config.queue_count();
        if count > QUEUES_PER_TOPIC_MAX {
            return Answer::Refused(Refusal::TooManyQueues { count, limit: QUEUES_PER_TOPIC_MAX });
        }
        if self.topic(&config.name) == Some(&config) {
            return Answer::Unchanged;
        }
        let topic = self.topics.get_or_insert_with(&config.name, TopicState::new);
        effects.topic_changed(&topic.name);
        topic.config = Some(config);
        self.topic_version.advance(time_ms);
        Answer::Done
    }

    fn delete_topic(&mut self, topic: &Arc<str>, time_ms: u64, effects: &mut Effects) -> Answer {
        if self.topic(topic).is_none() {
            return Answer::Refused(Refusal::UnknownTopic(topic.clone()));
        }
        if let Some(state) = self.topics.get_mut(topic) {
            effects.topic_changed(&state.name);
            state.bury();
            for (queue_id, head) in (0u32..).zip(&state.queues).filter(|(_, head)| head.max > 0) {
                effects.minimums.push(QueueMinimum { topic: state.name.clone(), queue_id, min: head.min });
            }
        }
        self.forget_offsets_of_topic(topic);
        self.topic_version.advance(time_ms);
        Answer::Done
    }

    fn put_group(&mut self, config: GroupConfig, time_ms: u64, effects: &mut Effects) -> Answer {
        if self.groups.get(&config.name) == Some(&config) {
            return Answer::Unchanged;
        }
        effects.group_changed(&config.name);
        self.groups.insert(config.name.clone(), config);
        self.group_version.advance(time_ms);
        Answer::Done
    }

    fn delete_group(
        &mut self,
        group: &Arc<str>,
        clean_offsets: bool,
        time_ms: u64,
        effects: &mut Effects,
    ) -> Answer {
        if clean_offsets {
            self.offsets.remove(group);
            self.resets.remove(group);
        }
        self.forbidden.remove(group);
        if !self.groups.remove(group) {
            return Answer::Refused(Refusal::UnknownGroup(group.clone()));
        }
        effects.group_changed(group);
        self.group_version.advance(time_ms);
        Answer::Done
    }

    /// A group need not exist to be forbidden something: it may be made by its first member later.
    fn forbid_read(&mut self, group: &Arc<str>, topic: Arc<str>, forbidden: bool, time_ms: u64) -> Answer {
        if self.is_read_forbidden(group, &topic) == forbidden {
            return Answer::Unchanged;
        }
        let topics = self.forbidden.get_or_insert_with(group, |_| BTreeSet::new());
        if forbidden {
            topics.insert(topic);
        } else {
            topics.remove(&topic);
            if topics.is_empty() {
                self.forbidden.remove(group);
            }
        }
        self.group_version.advance(time_ms);
        Answer::Done
    }

    fn join(&mut self, join: Join, effects: &mut Effects) -> Answer {
        let Join { group, mut member } = join;
        let members = self.members.get_or_insert_with(&group, |_| GroupMembers::default());
        let old = members.members.get(&member.client_id);
        keep_newer_subscriptions(&mut member, old);
        match old {
            Some(old) if !old.differs(&member) => {
                let answer = if *old == member { Answer::Unchanged } else { Answer::Done };
                members.members.insert(member.client_id.clone(), member);
                answer
            }
            _ => {
                members.members.insert(member.client_id.clone(), member);
                effects.member_changed(&group);
                Answer::Done
            }
        }
    }

    fn leave(
        &mut self,
        group: Arc<str>,
        client_id: Arc<str>,
        reason: LeaveReason,
        effects: &mut Effects,
    ) -> Answer {
        let members = self.members.get_mut(&group);
        let Some(members) = members.filter(|members| members.members.contains_key(&client_id)) else {
            return Answer::Refused(Refusal::UnknownMember { group, client_id });
        };
        members.members.remove(&client_id);
        if members.members.is_empty() {
            self.members.remove(&group);
        }
        effects.member_changed(&group);
        if reason != LeaveReason::Unregistered {
            effects.members_dropped.push((group, client_id));
        }
        Answer::Done
    }

    fn raise_minimum(&mut self, log_position: u64, queues: &[QueueMinimum], effects: &mut Effects) -> Answer {
        let mut moved = false;
        for queue in queues.iter().filter(|queue| queue.queue_id < QUEUES_PER_TOPIC_MAX) {
            // A queue without numbers has nothing to raise, and a miss must not make one.
            let Some(topic) = self.topics.get_mut(&queue.topic) else { continue };
            if let Some(head) = topic.queues.get_mut(queue.queue_id as usize)
                && head.raise_minimum(queue.min)
            {
                moved = true;
                effects.minimums.push(QueueMinimum { min: head.min, ..queue.clone() });
            }
        }
        if log_position > self.minimum_position {
            self.minimum_position = log_position;
            effects.minimum_position = Some(log_position);
            moved = true;
        }
        if moved { Answer::Done } else { Answer::Unchanged }
    }

    fn delay_done(&mut self, done: &DelayDone, time_ms: u64) -> Answer {
        let answer = self.delay.done(done, self.schedule_max(done.queue_id), time_ms);
        self.delay.forget_lists(self.delay_floor());
        answer
    }
}

/// A late heartbeat must not bring back an older subscription of a topic that the client still names.
// Source: RocketMQ 5.3 ConsumerGroupInfo#updateSubscription.
pub(super) fn keep_newer_subscriptions(member: &mut Member, old: Option<&Member>) {
    let Some(old) = old else { return };
    for (topic, subscription) in &mut member.subscriptions {
        if let Some(known) = old.subscriptions.get(topic)
            && known.version >= subscription.version
        {
            *subscription = known.clone();
        }
    }
}

//! What one applied entry did: enough to answer its proposers, extend the views, wake long polls, notify groups and register.

use std::sync::Arc;

/// The outcome of one entry. Buffers can be reused through [`Effects::clear`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Messages that took a number, in order of the payload.
    pub appended: Vec<Appended>,
    /// One answer per command, in order of the payload.
    pub answers: Vec<Answer>,
    /// Topics created, changed or deleted: the name servers must hear of them.
    pub topics_changed: Vec<Arc<str>>,
    pub groups_changed: Vec<Arc<str>>,
    /// Groups where a member joined, left or changed, each once.
    pub members_changed: Vec<Arc<str>>,
    /// How many consumer offsets were written.
    pub offsets_committed: usize,
    pub settings_changed: bool,
    /// The log below this position may go; set when it rose.
    pub minimum_position: Option<u64>,
}

/// One message that took its place in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    pub topic: Arc<str>,
    pub queue_id: u32,
    /// Total size of the stored message in bytes.
    pub size: u32,
    pub queue_offset: i64,
    /// Log position of the message's first byte.
    pub physical_offset: i64,
    pub tags_code: i64,
    pub store_time_ms: i64,
}

/// Answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// The tables already were as the command wanted them.
    Unchanged,
    Refused(Refusal),
}

/// Why a command had no effect. Decided from the tables alone, so every replica refuses alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("topic {0} does not exist")]
    UnknownTopic(Arc<str>),
    #[error("group {0} does not exist")]
    UnknownGroup(Arc<str>),
    #[error("{client_id} is no member of group {group}")]
    UnknownMember { group: Arc<str>, client_id: Arc<str> },
    #[error("{count} queues are more than {limit}")]
    TooManyQueues { count: u32, limit: u32 },
    #[error("this group is {broker} of cluster {cluster}")]
    OtherIdentity { cluster: Arc<str>, broker: Arc<str> },
}

impl Effects {
    /// Empties all lists and keeps their memory.
    pub fn clear(&mut self) {
        let Self {
            appended,
            answers,
            topics_changed,
            groups_changed,
            members_changed,
            offsets_committed,
            settings_changed,
            minimum_position,
        } = self;
        appended.clear();
        answers.clear();
        topics_changed.clear();
        groups_changed.clear();
        members_changed.clear();
        *offsets_committed = 0;
        *settings_changed = false;
        *minimum_position = None;
    }

    pub(crate) fn topic_changed(&mut self, topic: &Arc<str>) {
        push_once(&mut self.topics_changed, topic);
    }

    pub(crate) fn group_changed(&mut self, group: &Arc<str>) {
        push_once(&mut self.groups_changed, group);
    }

    pub(crate) fn member_changed(&mut self, group: &Arc<str>) {
        push_once(&mut self.members_changed, group);
    }
}

// An entry touches few names, so a walk beats a set.
fn push_once(names: &mut Vec<Arc<str>>, name: &Arc<str>) {
    if !names.contains(name) {
        names.push(name.clone());
    }
}

//! The state machine that raft-store drives: applies entries to the tables, extends the views, wakes waiting pulls.
//!
//! Runs on the Raft thread and touches memory only. The order inside `apply` matters: tables, then views, then wake-ups,
//! and the answer to the producer last, so that whoever hears of a message can read it.

use std::sync::Arc;

use flotilla_core::{Answer, Effects, EntryContext, Tables};
use flotilla_raft_store::raft::{Applied, InstallError, Machine};
use flotilla_raft_store::types::EntryKind;
use tokio::sync::Notify;

use super::SharedTables;
use crate::long_poll::LongPolls;
use crate::news::News;
use crate::pulled::PulledOffsets;
use crate::series::Series;
use crate::views::ConsumeQueues;
use crate::views::keys::KeyIndex;

/// What a proposer learns about its entry.
pub struct EntryAnswer {
    /// Place of each message of the entry, in order.
    pub appended: Vec<Place>,
    /// Answer to each command of the entry, in order.
    pub commands: Vec<Answer>,
}

/// Where a message has been stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub queue_offset: i64,
    /// Commit-log offset of the message's first byte.
    pub physical_offset: i64,
}

/// What apply tells the duties of this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Topics were made, changed or deleted.
    Topics,
    /// The members or subscriptions of a consumer group changed.
    Members(Arc<str>),
    /// Settings of the group changed.
    Settings,
    /// A member was taken out of a group as gone: group and client id.
    Dropped(Arc<str>, Arc<str>),
}

/// The broker's replicated state machine.
pub struct BrokerMachine {
    pub tables: SharedTables,
    pub views: Arc<ConsumeQueues>,
    pub keys: Option<Arc<KeyIndex>>,
    pub polls: Arc<LongPolls>,
    pub pulled: Arc<PulledOffsets>,
    /// Counts what this replica stores as leader.
    pub series: Arc<Series>,
    pub changes: Arc<News<Change>>,
    /// Wakes the delivery of delayed messages.
    pub delayed: Arc<Notify>,
}

impl Machine for BrokerMachine {
    type Answer = EntryAnswer;

    fn apply(&mut self, entry: &Applied<'_>) -> EntryAnswer {
        let context = EntryContext {
            index: entry.index,
            term: entry.term,
            position: entry.position,
            payload_position: entry.payload_position,
            time_ms: entry.time_ms,
        };
        let applied = {
            let mut tables = self.tables.write();
            match entry.kind {
                EntryKind::Application => tables.apply(&context, entry.payload),
                EntryKind::Blank | EntryKind::Membership => {
                    tables.skip(&context, entry.payload.len()).map(|()| Effects::default())
                }
            }
        };
        let effects = match applied {
            Ok(effects) => effects,
            // A committed entry that can't be applied is damage or a bug; going on would make the replicas differ.
            Err(error) => {
                panic!("log entry {} of term {} can't be applied: {error}", entry.index, entry.term)
            }
        };
        self.views.extend(&context, entry.end_position, &effects);
        if let Some(keys) = &self.keys {
            keys.applied(entry.index);
        }
        for run in effects.runs() {
            // Proposed here, so this replica led when the messages were stored.
            if entry.awaited {
                let sizes = run.messages.iter().map(|message| message.size.into());
                self.series.topic(run.topic).stored(run.queue_id, sizes);
            }
            self.polls.arrived(
                run.topic,
                run.queue_id,
                run.max,
                run.messages.iter().map(|message| message.tags_code),
            );
        }
        for (topic, queue_id) in &effects.resets {
            self.polls.recheck(topic, *queue_id, i64::MAX);
        }
        self.deleted(&effects.topics_changed);
        self.groups_deleted(&effects.groups_changed);
        // The permission of the broker is part of every topic as the name servers see it.
        if !effects.topics_changed.is_empty() || effects.settings_changed {
            self.changes.tell(Change::Topics);
        }
        if effects.settings_changed {
            self.changes.tell(Change::Settings);
        }
        for group in &effects.members_changed {
            self.changes.tell(Change::Members(group.clone()));
        }
        for (group, client_id) in &effects.members_dropped {
            self.changes.tell(Change::Dropped(group.clone(), client_id.clone()));
        }
        if effects.delay_begun {
            self.delayed.notify_one();
        }
        let appended = if entry.awaited {
            effects
                .appended
                .iter()
                .map(|m| Place { queue_offset: m.queue_offset, physical_offset: m.physical_offset })
                .collect()
        } else {
            Vec::new()
        };
        EntryAnswer { appended, commands: effects.answers }
    }

    fn checkpoint(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let tables: Tables = self.tables.read().clone();
        // A segment was sealed: its view can be written.
        self.views.wake();
        Box::new(move || tables.encode())
    }

    fn install(&mut self, checkpoint: &[u8]) -> Result<(), InstallError> {
        let tables = if checkpoint.is_empty() { Ok(Tables::blank()) } else { Tables::decode(checkpoint) };
        let tables = tables.map_err(|error| InstallError(error.to_string()))?;
        self.views.reset(&tables);
        if let Some(keys) = &self.keys {
            // Blank tables have applied nothing, not even the entry with number 0.
            keys.reset(if checkpoint.is_empty() { 0 } else { tables.applied().index + 1 });
        }
        *self.tables.write() = tables;
        // Held pulls may find here what they wait for, or have to look elsewhere.
        self.polls.recheck_all();
        self.changes.tell_anything();
        Ok(())
    }
}

impl BrokerMachine {
    /// The figures of a group go with it.
    fn groups_deleted(&self, changed: &[Arc<str>]) {
        if changed.is_empty() {
            return;
        }
        let tables = self.tables.read();
        for group in changed.iter().filter(|group| tables.group(group).is_none()) {
            self.series.forget_group(group);
        }
    }

    /// Nothing will come any more where a pull of a deleted topic waits.
    fn deleted(&self, changed: &[Arc<str>]) {
        if changed.is_empty() {
            return;
        }
        let tables = self.tables.read();
        for topic in changed.iter().filter(|topic| tables.topic(topic).is_none()) {
            self.polls.recheck_topic(topic);
            self.pulled.forget_topic(topic);
        }
    }
}

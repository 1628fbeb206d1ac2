//! Producers and consumers of a client: what heartbeats tell of them, and what brokers may ask them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use flotilla_remoting::bodies::{
    ConsumeDirectlyResult, ConsumerData, ConsumerRunningInfo, HeartbeatData, MessageQueue, ProducerData,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::error::{ClientError, Result};
use crate::limits::MEMBERS_MAX;
use crate::received::ReceivedMessage;

/// A half message whose outcome a broker asks for (39).
#[derive(Clone, Debug)]
pub(crate) struct TransactionCheck {
    /// Address of the broker, which wants the answer.
    pub(crate) broker: String,
    pub(crate) message: ReceivedMessage,
    pub(crate) half_queue_offset: i64,
    pub(crate) commit_log_offset: i64,
    pub(crate) transaction_id: Option<String>,
}

/// What a producer does when a broker asks. Calls must return quickly.
pub(crate) trait ProducerMember: Send + Sync + 'static {
    /// Decides a half message. Ordinary producers ignore it.
    fn check_transaction(&self, check: TransactionCheck);
}

/// What a consumer does when a broker asks. Calls must return quickly, futures need not.
pub(crate) trait ConsumerMember: Send + Sync + 'static {
    /// Its part of the heartbeat.
    fn data(&self) -> ConsumerData;
    /// The members of its group changed (40).
    fn members_changed(&self);
    /// New offsets for some queues (220).
    fn reset_offsets(&self, topic: &str, offsets: BTreeMap<MessageQueue, i64>);
    /// Offsets consumed up to, by queue (221).
    fn offsets(&self, topic: &str) -> BTreeMap<MessageQueue, i64>;
    /// What it is doing (307).
    fn running_info(&self) -> ConsumerRunningInfo;
    /// Works on one message now (309).
    fn consume_directly(&self, message: ReceivedMessage) -> BoxFuture<'static, ConsumeDirectlyResult>;
}

/// The members of a client, by group. Held weakly: a member that was dropped without a stop is gone.
#[derive(Default)]
pub(crate) struct Members {
    producers: Mutex<HashMap<String, Weak<dyn ProducerMember>>>,
    consumers: Mutex<HashMap<String, Weak<dyn ConsumerMember>>>,
}

impl Members {
    /// # Errors
    /// `Invalid` when the group is taken: brokers know a client's producers by group.
    pub(crate) fn add_producer(&self, group: &str, member: &Arc<dyn ProducerMember>) -> Result<()> {
        add(&mut self.producers.lock(), group, Arc::downgrade(member))
    }

    /// # Errors
    /// `Invalid` when the group is taken: two consumers of one client would get the same queues.
    pub(crate) fn add_consumer(&self, group: &str, member: &Arc<dyn ConsumerMember>) -> Result<()> {
        add(&mut self.consumers.lock(), group, Arc::downgrade(member))
    }

    pub(crate) fn remove_producer(&self, group: &str) {
        self.producers.lock().remove(group);
    }

    pub(crate) fn remove_consumer(&self, group: &str) {
        self.consumers.lock().remove(group);
    }

    pub(crate) fn producer(&self, group: &str) -> Option<Arc<dyn ProducerMember>> {
        self.producers.lock().get(group)?.upgrade()
    }

    pub(crate) fn consumer(&self, group: &str) -> Option<Arc<dyn ConsumerMember>> {
        self.consumers.lock().get(group)?.upgrade()
    }

    /// The heartbeat; `None` when there is nobody to tell of.
    pub(crate) fn heartbeat(&self, client_id: &str) -> Option<HeartbeatData> {
        let producers = {
            let mut table = self.producers.lock();
            table.retain(|_, member| member.strong_count() > 0);
            let mut groups: Vec<String> = table.keys().cloned().collect();
            groups.sort();
            groups
        };
        let consumers: Vec<Arc<dyn ConsumerMember>> = {
            let mut table = self.consumers.lock();
            table.retain(|_, member| member.strong_count() > 0);
            table.values().filter_map(Weak::upgrade).collect()
        };
        if producers.is_empty() && consumers.is_empty() {
            return None;
        }
        let mut consumer_data_set: Vec<ConsumerData> = consumers.iter().map(|member| member.data()).collect();
        consumer_data_set.sort_by(|a, b| a.group_name.cmp(&b.group_name));
        Some(HeartbeatData {
            client_id: client_id.to_owned(),
            consumer_data_set,
            heartbeat_fingerprint: 0,
            producer_data_set: producers.into_iter().map(|group_name| ProducerData { group_name }).collect(),
            without_sub: false,
        })
    }

    /// Claims that somebody consumes, so that every replica in use must hear the heartbeats.
    pub(crate) fn has_consumers(&self) -> bool {
        self.consumers.lock().values().any(|member| member.strong_count() > 0)
    }
}

fn add<T: ?Sized>(table: &mut HashMap<String, Weak<T>>, group: &str, member: Weak<T>) -> Result<()> {
    if let Err(error) = flotilla_remoting::names::check_group(group) {
        return Err(ClientError::Invalid(error.to_string()));
    }
    table.retain(|_, known| known.strong_count() > 0);
    if table.contains_key(group) {
        return Err(ClientError::Invalid(format!("group {group} is used by this client already")));
    }
    if table.len() >= MEMBERS_MAX {
        return Err(ClientError::Busy(format!("a client has at most {MEMBERS_MAX} members")));
    }
    table.insert(group.to_owned(), member);
    Ok(())
}

//! The queue data of topics: taken from registrations, added and deleted by tools.

use std::collections::BTreeSet;

use super::{Group, Registration, Registry, ReplicaKey};
use crate::limits::TOPICS_MAX;

/// Bit of `perm` that lets producers write.
pub(super) const PERM_WRITE: i32 = 2;

/// The queues of a topic at one broker name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TopicQueues {
    /// Queues that consumers read.
    pub read_count: i32,
    /// Queues that producers write.
    pub write_count: i32,
    /// Bits 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// Bits 1 unit, 2 has a unit subscription.
    pub sys_flag: i32,
}

/// In what way a registration's table is used.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Table {
    /// It rules.
    Leads,
    /// An acting master of Apache's: rules, but nobody writes there.
    ActingMaster,
    /// Not used: the leader's rules.
    Unused,
}

impl Registry {
    /// Takes over the topics of a registration whose address is entered already.
    pub(super) fn take_topics(&mut self, group_is_new: bool, registration: &Registration) {
        let name = &registration.broker_name;
        let Some(group) = self.groups.get_mut(name) else { return };
        let table = table_of(group, registration);
        if table == Table::Unused {
            return;
        }
        let counter = registration.version.counter;
        let is_older = registration.ours && counter < group.topics_counter && registration.id != 0;
        if is_older {
            return;
        }
        group.topics_counter = counter;
        let (cluster, address) = (registration.cluster.clone(), registration.address.clone());
        let before = self.live.get(&ReplicaKey { cluster, address });
        let differs = group_is_new || before.is_none_or(|before| before.version != registration.version);
        for (topic, queues) in &registration.topics {
            let mut queues = *queues;
            if table == Table::ActingMaster {
                queues.perm &= !PERM_WRITE;
            }
            let known = self.topics.get(topic).is_some_and(|brokers| brokers.contains_key(name));
            if differs || !known {
                self.put_queues(topic, name, queues);
            }
        }
        let is_full = registration.topics.len() > 1;
        let deletes = self.policy.delete_topics_by_registration || registration.ours;
        if is_full && deletes && differs {
            let kept = registration.topics.iter().map(|(topic, _)| topic.as_str()).collect();
            self.keep_only(name, &kept);
        }
    }

    fn put_queues(&mut self, topic: &str, broker_name: &str, mut queues: TopicQueues) {
        if self.wiped.contains(broker_name) {
            queues.perm &= !PERM_WRITE;
        }
        let brokers = self.topics.entry(topic.to_owned()).or_default();
        self.changed |= brokers.insert(broker_name.to_owned(), queues) != Some(queues);
    }

    /// Drops the topics of a broker name that are not in `kept`.
    fn keep_only(&mut self, broker_name: &str, kept: &BTreeSet<&str>) {
        let mut changed = false;
        self.topics.retain(|topic, brokers| {
            if !kept.contains(topic.as_str()) {
                changed |= brokers.remove(broker_name).is_some();
            }
            !brokers.is_empty()
        });
        self.changed |= changed;
    }

    /// Adds a topic at broker names that are known; ignores the others. Tells whether there was room for it.
    pub fn register_topic(&mut self, topic: &str, brokers: &[(String, TopicQueues)]) -> bool {
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(topic) {
            return false;
        }
        for (broker_name, queues) in brokers {
            if self.groups.contains_key(broker_name) {
                self.put_queues(topic, broker_name, *queues);
            }
        }
        true
    }

    /// Removes a topic: at every broker name, or at those of one cluster.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(brokers) = self.topics.get_mut(topic) else { return };
        match cluster {
            None => brokers.clear(),
            Some(cluster) => {
                let names = self.clusters.get(cluster);
                brokers.retain(|name, _| !names.is_some_and(|names| names.contains(name)));
            }
        }
        if brokers.is_empty() {
            self.topics.remove(topic);
        }
        self.changed = true;
    }
}

fn table_of(group: &Group, registration: &Registration) -> Table {
    let smallest = group.replicas.keys().next() == Some(&registration.id);
    let leaderless = !group.replicas.contains_key(&0);
    match registration.id {
        0 => Table::Leads,
        // After a restart of the name server the followers may come first.
        _ if registration.ours && leaderless => Table::Leads,
        _ if registration.acting_master && smallest => Table::ActingMaster,
        _ => Table::Unused,
    }
}

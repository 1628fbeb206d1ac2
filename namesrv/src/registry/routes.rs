//! Routes: what a client learns about a topic.

use std::collections::BTreeMap;

use flotilla_remoting::bodies::{BrokerData, QueueData, TopicRouteData};

use super::topics::PERM_WRITE;
use super::{Group, Registry, TopicQueues};

/// Internal topic that brokers sync through; never shown with an acting master.
/// Source: RocketMQ 5.3 TopicValidator.SYNC_BROKER_MEMBER_GROUP_PREFIX.
const SYNC_MEMBER_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

/// What is asked of a route beside the topic.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RouteQuery<'a> {
    /// Only broker names of this zone, and those without a master.
    pub zone: Option<&'a str>,
}

impl Registry {
    /// The route of a topic; `None` when no registered broker has it.
    pub fn route(&self, topic: &str, query: RouteQuery<'_>) -> Option<TopicRouteData> {
        let mut route = TopicRouteData::default();
        for (name, queues) in self.topics.get(topic)? {
            let Some(group) = self.groups.get(name) else { continue };
            if !in_zone(group, query.zone) {
                continue;
            }
            route.broker_datas.push(BrokerData {
                broker_addrs: self.addresses_for(group, topic, queues),
                broker_name: name.clone(),
                cluster: group.cluster.clone(),
                enable_acting_master: group.acting_master,
                zone_name: group.zone.clone(),
            });
            route.queue_datas.push(queue_data(name, queues));
        }
        (!route.queue_datas.is_empty()).then_some(route)
    }

    /// The addresses of a group with somebody under id 0 where the rules allow it.
    pub(super) fn addresses_for(
        &self,
        group: &Group,
        topic: &str,
        queues: &TopicQueues,
    ) -> BTreeMap<i64, String> {
        let acting = self.policy.support_acting_master
            && group.acting_master
            && queues.perm & PERM_WRITE == 0
            && !topic.starts_with(SYNC_MEMBER_PREFIX)
            && !group.replicas.contains_key(&0);
        let acting = acting.then(|| group.replicas.keys().next().copied()).flatten();
        with_master(group, self.stand_in(group).or(acting))
    }

    /// The addresses of a group as tools see them: with a stand-in, without acting masters.
    pub(super) fn addresses(&self, group: &Group) -> BTreeMap<i64, String> {
        with_master(group, self.stand_in(group))
    }
}

/// The group's addresses with replica `id` moved to id 0.
fn with_master(group: &Group, id: Option<i64>) -> BTreeMap<i64, String> {
    let mut addresses = group.replicas.clone();
    if let Some(address) = id.and_then(|id| addresses.remove(&id)) {
        addresses.insert(0, address);
    }
    addresses
}

fn in_zone(group: &Group, zone: Option<&str>) -> bool {
    let Some(zone) = zone else { return true };
    let same = group.zone.as_ref().is_some_and(|held| held.eq_ignore_ascii_case(zone));
    same || !group.replicas.contains_key(&0)
}

fn queue_data(broker_name: &str, queues: &TopicQueues) -> QueueData {
    QueueData {
        broker_name: broker_name.to_owned(),
        perm: queues.perm,
        read_queue_nums: queues.read_count,
        topic_sys_flag: queues.sys_flag,
        write_queue_nums: queues.write_count,
    }
}

//! Lists of topics and brokers for tools.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_remoting::bodies::{BrokerData, ClusterInfo};

use super::{Registry, TopicQueues};

/// Bits of `sys_flag`. Source: RocketMQ 5.3 TopicSysFlag.
const UNIT: i32 = 1;
const UNIT_SUBSCRIPTION: i32 = 2;

/// Which topics a list holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TopicFilter<'a> {
    /// Every one, system topics included.
    All,
    /// Those at broker names of a cluster.
    Cluster(&'a str),
    /// Those of a unit.
    Unit,
    /// Those with a subscription from a unit.
    UnitSubscription,
    /// The last, without those of a unit.
    UnitSubscriptionNotUnit,
}

impl Registry {
    /// Topic names, sorted.
    pub fn topics(&self, filter: TopicFilter<'_>) -> Vec<String> {
        let nobody = BTreeSet::new();
        let names = match filter {
            TopicFilter::Cluster(cluster) => self.clusters.get(cluster).unwrap_or(&nobody),
            TopicFilter::All
            | TopicFilter::Unit
            | TopicFilter::UnitSubscription
            | TopicFilter::UnitSubscriptionNotUnit => &nobody,
        };
        let has = |queues: &TopicQueues, bit: i32| queues.sys_flag & bit != 0;
        let belongs = |(name, queues): (&String, &TopicQueues)| match filter {
            TopicFilter::All => true,
            TopicFilter::Cluster(_) => names.contains(name),
            TopicFilter::Unit => has(queues, UNIT),
            TopicFilter::UnitSubscription => has(queues, UNIT_SUBSCRIPTION),
            TopicFilter::UnitSubscriptionNotUnit => has(queues, UNIT_SUBSCRIPTION) && !has(queues, UNIT),
        };
        let listed = self.topics.iter().filter(|(_, brokers)| brokers.iter().any(belongs));
        listed.map(|(topic, _)| topic.clone()).collect()
    }

    /// Topic names after `after`, sorted, at most `limit`.
    pub fn topics_after(&self, after: &str, limit: usize) -> Vec<String> {
        use std::ops::Bound;
        let range = (Bound::Excluded(after), Bound::Unbounded);
        self.topics.range::<str, _>(range).take(limit).map(|(topic, _)| topic.clone()).collect()
    }

    /// Names of clusters and broker names, which every broker has as topics, and the address of one live broker.
    pub fn system_topics(&self) -> (Vec<String>, Option<String>) {
        let names = self.clusters.iter().flat_map(|(cluster, names)| std::iter::once(cluster).chain(names));
        let address = self.groups.values().find_map(|group| group.replicas.values().next().cloned());
        (names.cloned().collect(), address)
    }

    /// All clusters and broker names with their addresses.
    pub fn cluster_info(&self) -> ClusterInfo {
        let brokers = self.groups.iter().map(|(name, group)| {
            let data = BrokerData {
                broker_addrs: self.addresses(group),
                broker_name: name.clone(),
                cluster: group.cluster.clone(),
                enable_acting_master: group.acting_master,
                zone_name: group.zone.clone(),
            };
            (name.clone(), data)
        });
        let clusters =
            self.clusters.iter().map(|(cluster, names)| (cluster.clone(), names.iter().cloned().collect()));
        ClusterInfo { broker_addr_table: brokers.collect(), cluster_addr_table: clusters.collect() }
    }

    /// The replicas of a broker name by id, exactly as registered: a stand-in does not show as 0 here, so that brokers can
    /// wait for a true leader. Empty when unknown.
    pub fn members(&self, cluster: &str, broker_name: &str) -> BTreeMap<i64, String> {
        let group = self.groups.get(broker_name).filter(|group| group.cluster == cluster);
        group.map(|group| group.replicas.clone()).unwrap_or_default()
    }
}

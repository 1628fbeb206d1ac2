//! Who is registered, and which topics they have: the state behind every route. Pure, time is an argument.
//!
//! ```text
//!               register (id, address)                 silence, 104, or connection closed (Apache's only)
//!   unknown ----------------------------> registered ---------------------------------------------------> unknown
//!                 the last replica of a broker name takes its queue data with it
//! ```
//! Two kinds of brokers register. Apache's are treated as Apache's name server does (namesrv.md, chapters 3 and 4). Ours
//! mark their requests and get three promises more:
//! - an entry outlives its connection until the silence deadline;
//! - a lower term never replaces the id-0 entry of a higher one, also for a while after that entry has gone;
//! - a route never lacks id 0: while none leads, the live replica with the highest applied index stands as 0.
//!
//! Facts: RocketMQ 5.3 RouteInfoManager, as noted in the protocol papers.

mod leader;
mod lists;
mod permission;
mod register;
mod routes;
mod topics;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use flotilla_remoting::bodies::DataVersion;

pub use lists::TopicFilter;
pub use register::{Master, RegisterError, Registered, Registration};
pub use routes::RouteQuery;
pub use topics::TopicQueues;

use leader::LeaderMemory;

/// Name of a connection, growing with time. Source: `flotilla_net::Connection::id`.
pub type ConnectionId = u64;

/// What can be switched at run time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// A full registration removes topics that it lacks, for Apache's brokers too.
    pub delete_topics_by_registration: bool,
    /// The smallest id of a group of Apache's that asked for it is shown as 0.
    pub support_acting_master: bool,
}

/// The registry; see the module.
#[derive(Debug, Default)]
pub struct Registry {
    policy: Policy,
    clusters: BTreeMap<String, BTreeSet<String>>,
    groups: BTreeMap<String, Group>,
    /// Topic, broker name, queues.
    topics: BTreeMap<String, BTreeMap<String, TopicQueues>>,
    live: BTreeMap<ReplicaKey, Replica>,
    /// Broker names without write permission until it is given back.
    wiped: BTreeSet<String>,
    leaders: BTreeMap<String, LeaderMemory>,
    /// A route may look different than before.
    changed: bool,
}

/// The replicas that share a broker name.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Group {
    cluster: String,
    acting_master: bool,
    zone: Option<String>,
    /// Broker id, address. Never empty.
    replicas: BTreeMap<i64, String>,
    /// Counter of the topic table that was taken last.
    topics_counter: i64,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ReplicaKey {
    cluster: String,
    address: String,
}

/// What keeps one registration alive.
#[derive(Clone, Debug)]
struct Replica {
    broker_name: String,
    updated_ms: u64,
    silence_ms: u64,
    version: DataVersion,
    connection: ConnectionId,
    ha_address: String,
    /// One of our brokers.
    ours: bool,
    /// Index up to which it has applied its group's log; 0 for Apache's.
    applied: u64,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Changes what can be switched.
    pub fn set_policy(&mut self, policy: Policy) {
        self.changed |= self.policy != policy;
        self.policy = policy;
    }

    /// Claims that a route may look different than at the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Number of broker names.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Number of live registrations.
    pub fn replica_count(&self) -> usize {
        self.live.len()
    }

    /// Number of topics.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Broker names of which no replica is registered as id 0.
    pub fn leaderless(&self) -> impl Iterator<Item = &str> {
        let lacks = |group: &Group| !group.replicas.contains_key(&0);
        self.groups.iter().filter(move |(_, group)| lacks(group)).map(|(name, _)| name.as_str())
    }

    /// Claims that a broker name has replicas and none of them is id 0. The choice of its stand-in may then change with each
    /// word of a replica.
    fn is_leaderless(&self, broker_name: &str) -> bool {
        self.groups.get(broker_name).is_some_and(|group| !group.replicas.contains_key(&0))
    }

    /// A word from a registered replica: it stays registered. Tells whether it is known.
    pub fn heartbeat(&mut self, now_ms: u64, cluster: &str, address: &str, applied: Option<u64>) -> bool {
        let key = ReplicaKey { cluster: cluster.to_owned(), address: address.to_owned() };
        let Some(replica) = self.live.get_mut(&key) else { return false };
        replica.updated_ms = now_ms;
        let name = replica.broker_name.clone();
        let advanced = applied.filter(|applied| *applied != replica.applied);
        if let Some(applied) = advanced {
            replica.applied = applied;
        }
        match self.groups.get(&name).and_then(|group| group.replicas.get(&0)) {
            Some(leader) if leader == address => self.confirm_leader(now_ms, &name),
            Some(_) => {}
            // The choice of the stand-in may be another now.
            None => self.changed |= advanced.is_some(),
        }
        true
    }

    /// What the name server knows of a replica's topic table.
    pub fn data_version(&self, cluster: &str, address: &str) -> Option<&DataVersion> {
        let key = ReplicaKey { cluster: cluster.to_owned(), address: address.to_owned() };
        self.live.get(&key).map(|replica| &replica.version)
    }

    /// A replica says that it leaves. For ours the removal counts only when it comes over the connection of the registration
    /// or a younger one: a late good-bye of an earlier process must not remove its successor.
    pub fn unregister(&mut self, cluster: &str, broker_name: &str, address: &str, from: ConnectionId) {
        let key = ReplicaKey { cluster: cluster.to_owned(), address: address.to_owned() };
        if self.live.get(&key).is_some_and(|replica| replica.ours && from < replica.connection) {
            return;
        }
        self.live.remove(&key);
        self.remove_address(broker_name, address);
    }

    /// A connection has ended. Apache's brokers that registered over it are gone; ours stay until the silence deadline.
    pub fn connection_closed(&mut self, connection: ConnectionId) {
        let gone = |replica: &Replica| replica.connection == connection && !replica.ours;
        self.remove_where(gone);
    }

    /// Removes registrations that were silent for too long; gives the connections that they came over, to be closed: the
    /// broker then registers anew.
    pub fn expire(&mut self, now_ms: u64) -> Vec<ConnectionId> {
        let silent = |replica: &Replica| now_ms > replica.updated_ms + replica.silence_ms;
        let removed = self.remove_where(silent);
        self.forget_leaders(now_ms);
        removed.into_iter().map(|(_, replica)| replica.connection).collect()
    }

    fn remove_where(&mut self, gone: impl Fn(&Replica) -> bool) -> Vec<(ReplicaKey, Replica)> {
        let removed: Vec<_> = self.live.extract_if(.., |_, replica| gone(replica)).collect();
        for (key, replica) in &removed {
            self.remove_address(&replica.broker_name, &key.address);
        }
        removed
    }

    /// Takes an address out of its group; the last one takes the group and its queue data along.
    fn remove_address(&mut self, broker_name: &str, address: &str) {
        let Some(group) = self.groups.get_mut(broker_name) else { return };
        let before = group.replicas.len();
        group.replicas.retain(|_, held| held != address);
        if group.replicas.len() == before {
            return;
        }
        self.changed = true;
        if group.replicas.is_empty() {
            self.remove_group(broker_name);
        } else if group.acting_master && !group.replicas.contains_key(&0) {
            self.clear_write_bits(broker_name);
        }
    }

    fn remove_group(&mut self, broker_name: &str) {
        self.groups.remove(broker_name);
        self.clusters.retain(|_, names| {
            names.remove(broker_name);
            !names.is_empty()
        });
        self.topics.retain(|_, brokers| {
            brokers.remove(broker_name);
            !brokers.is_empty()
        });
    }
}

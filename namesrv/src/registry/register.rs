//! Registration: what is accepted, and what it changes.

use flotilla_remoting::bodies::DataVersion;

use super::{ConnectionId, Group, Registry, Replica, ReplicaKey, TopicQueues};
use crate::limits::{GROUPS_MAX, REPLICAS_MAX, SILENCE_DEFAULT, SILENCE_MAX, TOPICS_MAX};

/// What a broker registers: request header and body, checked for form.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Cluster name.
    pub cluster: String,
    /// Name that the replicas of a group share.
    pub broker_name: String,
    /// `ip:port`, unique.
    pub address: String,
    /// 0 leads.
    pub id: i64,
    /// Address for Java's own replication; handed to slaves.
    pub ha_address: String,
    /// Zone, where zones are used.
    pub zone: Option<String>,
    /// Silence after which the registration lapses; the default when `None`.
    pub silence_ms: Option<u64>,
    /// The broker wants acting masters.
    pub acting_master: bool,
    /// Version of the topic table.
    pub version: DataVersion,
    /// Topics and their queues: all of them, or the one that changed.
    pub topics: Vec<(String, TopicQueues)>,
    /// Carries the mark of our brokers.
    pub ours: bool,
    /// Applied index of the group's log; 0 for Apache's.
    pub applied: u64,
    /// Over which it came.
    pub connection: ConnectionId,
}

/// Why a registration is refused as a mistake.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RegisterError {
    /// One topic alone can only be an addition to a full table.
    #[error("a single topic was sent before a full table")]
    SingleTopicFirst,
    /// A bound of `limits` would be passed.
    #[error("too many {0}")]
    TooMany(&'static str),
}

/// The answer to a registration that was no mistake.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Registered {
    /// False when a higher term holds the id: the registration was ignored.
    pub accepted: bool,
    /// Who leads, for replicas that do not.
    pub master: Option<Master>,
}

/// The id-0 replica of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Master {
    /// Its address for clients.
    pub address: String,
    /// Its address for replication.
    pub ha_address: String,
}

impl Registry {
    /// Takes a registration.
    ///
    /// # Errors
    /// Nothing was changed; the broker is answered with code 1.
    pub fn register(&mut self, now_ms: u64, registration: Registration) -> Result<Registered, RegisterError> {
        self.check_bounds(&registration)?;
        if self.is_outdated(now_ms, &registration) {
            self.ignore(&registration);
            return Ok(Registered::default());
        }
        let known = self.groups.get(&registration.broker_name);
        let id_known = known.is_some_and(|group| group.replicas.contains_key(&registration.id));
        if !id_known && registration.topics.len() == 1 {
            return Err(RegisterError::SingleTopicFirst);
        }
        let group_is_new = known.is_none();
        self.enter(&registration);
        self.take_topics(group_is_new, &registration);
        if registration.id == 0 {
            self.note_leader(now_ms, &registration);
        }
        let master = self.master_for(&registration);
        self.keep_alive(now_ms, registration);
        Ok(Registered { accepted: true, master })
    }

    fn check_bounds(&self, registration: &Registration) -> Result<(), RegisterError> {
        match self.groups.get(&registration.broker_name) {
            None if self.groups.len() >= GROUPS_MAX => return Err(RegisterError::TooMany("broker names")),
            Some(group)
                if group.replicas.len() >= REPLICAS_MAX && !group.replicas.contains_key(&registration.id) =>
            {
                return Err(RegisterError::TooMany("replicas"));
            }
            None | Some(_) => {}
        }
        let added = registration.topics.iter().filter(|(topic, _)| !self.topics.contains_key(topic));
        if self.topics.len() + added.count() > TOPICS_MAX {
            return Err(RegisterError::TooMany("topics"));
        }
        Ok(())
    }

    /// Apache's broker loses its entry under another id and its liveness with an outdated claim. Ours keeps what it has: a
    /// deposed leader that has not noticed stays reachable under the entry of its role before.
    fn ignore(&mut self, registration: &Registration) {
        if registration.ours {
            return;
        }
        let (cluster, address) = (registration.cluster.clone(), registration.address.clone());
        self.live.remove(&ReplicaKey { cluster, address });
        self.remove_address(&registration.broker_name, &registration.address);
    }

    /// Puts the address under its id, and under no other.
    fn enter(&mut self, registration: &Registration) {
        let name = &registration.broker_name;
        self.clusters.entry(registration.cluster.clone()).or_default().insert(name.clone());
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group {
            cluster: registration.cluster.clone(),
            acting_master: false,
            zone: None,
            replicas: Default::default(),
            topics_counter: i64::MIN,
        });
        let before = group.clone();
        group.acting_master = registration.acting_master;
        group.zone.clone_from(&registration.zone);
        group.replicas.retain(|id, held| *id == registration.id || *held != registration.address);
        group.replicas.insert(registration.id, registration.address.clone());
        self.changed |= *group != before;
    }

    fn keep_alive(&mut self, now_ms: u64, registration: Registration) {
        let silence = registration.silence_ms.unwrap_or(SILENCE_DEFAULT.as_millis() as u64);
        let replica = Replica {
            broker_name: registration.broker_name,
            updated_ms: now_ms,
            silence_ms: silence.min(SILENCE_MAX.as_millis() as u64),
            version: registration.version,
            connection: registration.connection,
            ha_address: registration.ha_address,
            ours: registration.ours,
            applied: registration.applied,
        };
        let key = ReplicaKey { cluster: registration.cluster, address: registration.address };
        let (ours, leaderless) = (replica.ours, self.is_leaderless(&replica.broker_name));
        let before = self.live.insert(key, replica);
        self.changed |= leaderless && (ours || before.is_some_and(|before| before.ours));
    }

    fn master_for(&self, registration: &Registration) -> Option<Master> {
        if registration.id == 0 {
            return None;
        }
        let address = self.groups.get(&registration.broker_name)?.replicas.get(&0)?;
        let key = ReplicaKey { cluster: registration.cluster.clone(), address: address.clone() };
        let replica = self.live.get(&key)?;
        Some(Master { address: address.clone(), ha_address: replica.ha_address.clone() })
    }
}

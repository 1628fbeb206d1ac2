//! Who may stand as id 0: terms, their memory, and the stand-in while none leads.
//!
//! The term travels in `DataVersion.stateVersion`: ours send 2 * (term in which elected) + 1 as leader and 2 * (known
//! term) otherwise. Between equal numbers the last writer wins.

use flotilla_mutants::{self as mutants, Mutant};

use super::{Group, Registration, Registry, ReplicaKey};
use crate::limits::TERM_MEMORY;

/// The highest `stateVersion` under which one of ours was entered as id 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaderMemory {
    state_version: i64,
    confirmed_ms: u64,
}

impl LeaderMemory {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms > self.confirmed_ms + TERM_MEMORY.as_millis() as u64
    }
}

impl Registry {
    /// Claims that a higher term than this registration's holds its id, or held id 0 until a moment ago.
    pub(super) fn is_outdated(&self, now_ms: u64, registration: &Registration) -> bool {
        if mutants::on(Mutant::AcceptLowerTerm) {
            return false;
        }
        let state_version = registration.version.state_version;
        let holder = self.groups.get(&registration.broker_name).and_then(|group| {
            let address = group.replicas.get(&registration.id)?;
            let key = ReplicaKey { cluster: registration.cluster.clone(), address: address.clone() };
            Some((address, self.live.get(&key)?))
        });
        if holder.is_some_and(|(address, holder)| {
            *address != registration.address && holder.version.state_version > state_version
        }) {
            return true;
        }
        if !registration.ours || registration.id != 0 {
            return false;
        }
        let Some(memory) = self.leaders.get(&registration.broker_name) else { return false };
        memory.state_version > state_version && !(memory.is_over(now_ms) && holder.is_none())
    }

    /// One of ours was entered as id 0.
    pub(super) fn note_leader(&mut self, now_ms: u64, registration: &Registration) {
        if registration.ours {
            let state_version = registration.version.state_version;
            let memory = LeaderMemory { state_version, confirmed_ms: now_ms };
            self.leaders.insert(registration.broker_name.clone(), memory);
        }
    }

    pub(super) fn confirm_leader(&mut self, now_ms: u64, broker_name: &str) {
        if let Some(memory) = self.leaders.get_mut(broker_name) {
            memory.confirmed_ms = now_ms;
        }
    }

    /// Forgets terms that nobody can claim against any more.
    pub(super) fn forget_leaders(&mut self, now_ms: u64) {
        let groups = &self.groups;
        let held = |name: &str| groups.get(name).is_some_and(|group| group.replicas.contains_key(&0));
        self.leaders.retain(|name, memory| held(name) || !memory.is_over(now_ms));
    }

    /// The id that stands as 0 while none leads: of our live replicas the one that has applied most, the smallest id of equal
    /// ones. It forwards to the leader as soon as there is one.
    pub(super) fn stand_in(&self, group: &Group) -> Option<i64> {
        if group.replicas.contains_key(&0) {
            return None;
        }
        let applied = |address: &String| {
            let key = ReplicaKey { cluster: group.cluster.clone(), address: address.clone() };
            self.live.get(&key).filter(|replica| replica.ours).map(|replica| replica.applied)
        };
        let candidates = group.replicas.iter().filter_map(|(id, address)| Some((applied(address)?, *id)));
        candidates.max_by_key(|(applied, id)| (*applied, std::cmp::Reverse(*id))).map(|(_, id)| id)
    }
}

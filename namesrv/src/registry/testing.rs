//! Registrations for tests.

use flotilla_remoting::bodies::DataVersion;

use super::{Registration, TopicQueues};

/// Queues as most topics have them.
pub(crate) const QUEUES: TopicQueues = TopicQueues { read_count: 4, write_count: 4, perm: 6, sys_flag: 0 };

/// Apache's broker `broker_name` with this id, at an address of its own, with two topics.
pub(crate) fn registration(broker_name: &str, id: i64) -> Registration {
    Registration {
        cluster: "c".into(),
        broker_name: broker_name.into(),
        address: address(broker_name, id),
        id,
        ha_address: format!("{}-ha", address(broker_name, id)),
        zone: None,
        silence_ms: Some(30_000),
        acting_master: false,
        version: DataVersion { counter: 1, state_version: 0, timestamp: 1 },
        topics: topics(&["TBW102", "t"]),
        ours: false,
        applied: 0,
        connection: u64::try_from(id).unwrap_or(0) + 1,
    }
}

/// One of our replicas: `peer` is its number in the group, `term` what it knows.
pub(crate) fn ours(broker_name: &str, peer: i64, leads: bool, term: i64, applied: u64) -> Registration {
    let mut registration = registration(broker_name, if leads { 0 } else { peer });
    registration.address = address(broker_name, peer);
    registration.version.state_version = 2 * term + i64::from(leads);
    registration.ours = true;
    registration.applied = applied;
    registration.connection = u64::try_from(peer).unwrap_or(0);
    registration
}

pub(crate) fn address(broker_name: &str, peer: i64) -> String {
    format!("{broker_name}:{}", 10_000 + peer)
}

pub(crate) fn topics(names: &[&str]) -> Vec<(String, TopicQueues)> {
    names.iter().map(|name| ((*name).to_owned(), QUEUES)).collect()
}

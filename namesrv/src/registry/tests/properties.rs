//! Random histories: whatever registers, leaves, falls silent or is cut off, the registry stays whole.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Register { broker: u8, peer: i64, leads: bool, term: i64, applied: u64, ours: bool, counter: i64 },
    Heartbeat { broker: u8, peer: i64, applied: u64 },
    Unregister { broker: u8, peer: i64, from: u64 },
    Close { connection: u64 },
    Wait { ms: u64 },
    Delete { topic: u8 },
    Wipe { broker: u8 },
    GiveBack { broker: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let (broker, peer) = (0..2_u8, 1..4_i64);
    prop_oneof![
        6 => (broker.clone(), peer.clone(), any::<bool>(), 0..4_i64, 0..5_u64, any::<bool>(), 0..3_i64).prop_map(
            |(broker, peer, leads, term, applied, ours, counter)| Step::Register {
                broker, peer, leads, term, applied, ours, counter
            }
        ),
        2 => (broker.clone(), peer.clone(), 0..5_u64)
            .prop_map(|(broker, peer, applied)| Step::Heartbeat { broker, peer, applied }),
        1 => (broker.clone(), peer, 0..5_u64)
            .prop_map(|(broker, peer, from)| Step::Unregister { broker, peer, from }),
        1 => (0..4_u64).prop_map(|connection| Step::Close { connection }),
        2 => (0..40_000_u64).prop_map(|ms| Step::Wait { ms }),
        1 => (0..3_u8).prop_map(|topic| Step::Delete { topic }),
        1 => broker.clone().prop_map(|broker| Step::Wipe { broker }),
        1 => broker.prop_map(|broker| Step::GiveBack { broker }),
    ]
}

/// What the claims need to know of the history.
#[derive(Default)]
struct History {
    now_ms: u64,
    /// Highest leader term of ours taken lately, by broker name, and when its holder was last heard.
    terms: BTreeMap<String, (i64, u64)>,
}

fn name(broker: u8) -> String {
    // Names of ours and Apache's do not mix within a group in reality, but they may here.
    format!("b{broker}")
}

fn run(registry: &mut Registry, history: &mut History, step: Step) {
    match step {
        Step::Register { broker, peer, leads, term, applied, ours: is_ours, counter } => {
            let mut registration = ours(&name(broker), peer, leads, term, applied);
            registration.ours = is_ours;
            registration.version.counter = counter;
            registration.topics = topics(&["t0", "t1", &format!("t{}", counter + 2)]);
            let claims = is_ours && leads;
            let state_version = registration.version.state_version;
            let taken = accepted(registry, history.now_ms, registration);
            if claims && taken {
                let before = history.terms.insert(name(broker), (state_version, history.now_ms));
                let (term, heard) = before.unwrap_or((0, 0));
                assert!(state_version >= term || history.now_ms > heard + 60_000, "a lower term took id 0");
            }
        }
        Step::Heartbeat { broker, peer, applied } => {
            registry.heartbeat(history.now_ms, "c", &address(&name(broker), peer), Some(applied));
        }
        Step::Unregister { broker, peer, from } => {
            registry.unregister("c", &name(broker), &address(&name(broker), peer), from);
        }
        Step::Close { connection } => registry.connection_closed(connection),
        Step::Wait { ms } => {
            history.now_ms += ms;
            registry.expire(history.now_ms);
        }
        Step::Delete { topic } => registry.delete_topic(&format!("t{topic}"), None),
        Step::Wipe { broker } => drop(registry.wipe_write_permission(&name(broker))),
        Step::GiveBack { broker } => drop(registry.add_write_permission(&name(broker))),
    }
}

fn check(registry: &Registry) {
    for (name, group) in &registry.groups {
        assert!(!group.replicas.is_empty(), "{name} is empty");
        assert!(registry.clusters[&group.cluster].contains(name), "{name} is in no cluster");
        let mut addresses: Vec<_> = group.replicas.values().collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), group.replicas.len(), "an address has two ids");
        for address in addresses {
            let key = ReplicaKey { cluster: group.cluster.clone(), address: address.clone() };
            assert!(registry.live.contains_key(&key), "{address} would never expire");
        }
    }
    let known = |name: &String| registry.groups.contains_key(name);
    assert!(registry.clusters.values().flatten().all(known), "a cluster names a broker that is gone");
    for (topic, brokers) in &registry.topics {
        assert!(!brokers.is_empty() && brokers.keys().all(known), "{topic} has queues nowhere");
    }
    for topic in registry.topics(TopicFilter::All) {
        let route = registry.route(&topic, RouteQuery::default()).unwrap();
        for data in &route.broker_datas {
            let has_ours = data.broker_addrs.values().any(|address| {
                let key = ReplicaKey { cluster: data.cluster.clone(), address: address.clone() };
                registry.live[&key].ours
            });
            assert!(!has_ours || data.broker_addrs.contains_key(&0), "a route of ours lacks id 0");
        }
        for queues in route.queue_datas {
            let wiped = registry.wiped.contains(&queues.broker_name);
            assert!(!wiped || queues.perm & 2 == 0, "a wiped broker can be written");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_the_registry_stays_whole(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut registry, mut history) = (Registry::new(), History::default());
        let mut routes = Vec::new();
        for step in steps {
            let text = format!("{step:?}");
            run(&mut registry, &mut history, step);
            check(&registry);
            // Routes that are kept as bytes may only stay when nothing changed.
            let now: Vec<_> = registry
                .topics(TopicFilter::All)
                .iter()
                .map(|topic| registry.route(topic, RouteQuery::default()))
                .collect();
            let changed = registry.take_changed();
            prop_assert!(changed || now == routes, "{} changed a route and did not say so", text);
            routes = now;
        }
    }
}

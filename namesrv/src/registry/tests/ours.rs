//! What our brokers get beyond the protocol: terms that count, entries that last, routes that never lack id 0.

use super::*;

/// Three replicas of "b", peer 1 leads in term 3, applied 10, 20 and 30.
fn group() -> Registry {
    let mut registry = Registry::new();
    for (peer, leads, applied) in [(1, true, 10), (2, false, 20), (3, false, 30)] {
        assert!(accepted(&mut registry, 0, ours("b", peer, leads, 3, applied)));
    }
    registry
}

#[test]
fn a_new_term_takes_id_0_over_and_the_deposed_leader_comes_back_as_follower() {
    let mut registry = group();
    assert!(accepted(&mut registry, 1, ours("b", 3, true, 4, 30)));
    assert_eq!(route(&registry, "t", "b"), [(0, address("b", 3)), (2, address("b", 2))]);
    let master = registry.register(2, ours("b", 1, false, 4, 12)).unwrap().master.unwrap();
    assert_eq!(master.address, address("b", 3));
    let all = [(0, address("b", 3)), (1, address("b", 1)), (2, address("b", 2))];
    assert_eq!(route(&registry, "t", "b"), all);
}

#[test]
fn a_deposed_leader_cannot_take_id_0_back_and_keeps_its_other_entry() {
    let mut registry = group();
    assert!(accepted(&mut registry, 1, ours("b", 2, true, 4, 30)));
    assert!(accepted(&mut registry, 2, ours("b", 1, false, 4, 10)));
    let before = route(&registry, "t", "b");
    assert!(!accepted(&mut registry, 3, ours("b", 1, true, 3, 10)));
    assert_eq!(route(&registry, "t", "b"), before);
}

#[cfg(feature = "faults")]
#[test]
fn as_a_mutant_a_deposed_leader_takes_id_0_back() {
    use flotilla_mutants::{Mutant, while_on};
    let mut registry = group();
    assert!(accepted(&mut registry, 1, ours("b", 2, true, 4, 30)));
    while_on(Mutant::AcceptLowerTerm, || {
        assert!(accepted(&mut registry, 3, ours("b", 1, true, 3, 10)));
    });
    assert_eq!(route(&registry, "t", "b")[0], (0, address("b", 1)));
}

#[test]
fn the_highest_term_is_remembered_after_its_entry_has_gone() {
    let mut registry = group();
    registry.unregister("c", "b", &address("b", 1), 1);
    assert!(!accepted(&mut registry, 1_000, ours("b", 2, true, 2, 20)), "term 2 comes after term 3");
    assert!(accepted(&mut registry, 1_000, ours("b", 2, true, 3, 20)), "the same term: last writer wins");
    registry.unregister("c", "b", &address("b", 2), 2);
    registry.unregister("c", "b", &address("b", 3), 3);
    assert_eq!(registry.group_count(), 0);
    assert!(!accepted(&mut registry, 2_000, ours("b", 1, true, 2, 1)), "also after the whole group has gone");
    // A group formed anew starts at term 1 again; it is let in when nobody can be meant any more.
    assert!(!accepted(&mut registry, 61_000, ours("b", 1, true, 1, 1)));
    assert!(accepted(&mut registry, 61_001, ours("b", 1, true, 1, 1)));
}

#[test]
fn a_leader_that_is_heard_of_is_not_forgotten() {
    let mut registry = group();
    for now_ms in (10_000..200_000).step_by(10_000) {
        registry.heartbeat(now_ms, "c", &address("b", 1), Some(11));
        registry.expire(now_ms);
        assert!(!accepted(&mut registry, now_ms, ours("b", 2, true, 2, 20)));
    }
}

#[test]
fn an_entry_outlives_its_connection_until_the_silence_deadline() {
    let mut registry = group();
    for connection in 1..=3 {
        registry.connection_closed(connection);
    }
    assert_eq!(route(&registry, "t", "b").len(), 3);
    registry.expire(30_000);
    assert_eq!(route(&registry, "t", "b").len(), 3);
    registry.expire(30_001);
    assert_eq!(registry.group_count(), 0);
}

#[test]
fn while_none_leads_the_replica_that_applied_most_stands_as_0() {
    let mut registry = group();
    registry.unregister("c", "b", &address("b", 1), 1);
    assert_eq!(route(&registry, "t", "b"), [(0, address("b", 3)), (2, address("b", 2))]);
    let info = registry.cluster_info();
    assert_eq!(info.broker_addr_table["b"].broker_addrs[&0], address("b", 3));
    assert!(registry.take_changed());
    registry.heartbeat(1, "c", &address("b", 2), Some(31));
    assert!(registry.take_changed(), "the choice may be another");
    assert_eq!(route(&registry, "t", "b"), [(0, address("b", 2)), (3, address("b", 3))]);
    registry.register(2, ours("b", 3, false, 3, 31)).unwrap();
    assert_eq!(route(&registry, "t", "b")[0].1, address("b", 2), "of equal ones the smallest id");
    assert_eq!(perm(&registry, "t", "b"), Some(6), "it forwards, so it can be written");
}

#[test]
fn members_show_a_true_leader_only() {
    let mut registry = group();
    assert_eq!(registry.members("c", "b")[&0], address("b", 1));
    registry.unregister("c", "b", &address("b", 1), 1);
    let members: Vec<_> = registry.members("c", "b").into_iter().collect();
    assert_eq!(members, [(2, address("b", 2)), (3, address("b", 3))]);
    assert!(registry.members("c", "unknown").is_empty());
    assert!(registry.members("other", "b").is_empty());
}

#[test]
fn followers_that_come_first_give_a_route() {
    let mut registry = Registry::new();
    registry.register(0, ours("b", 2, false, 3, 7)).unwrap();
    assert_eq!(route(&registry, "t", "b"), [(0, address("b", 2))]);
    let mut older = ours("b", 3, false, 3, 6);
    older.version.counter = 0;
    older.topics = topics(&["TBW102", "gone"]);
    registry.register(1, older).unwrap();
    assert!(perm(&registry, "gone", "b").is_none(), "an older table does not replace a newer one");
    assert!(perm(&registry, "t", "b").is_some());
}

#[test]
fn the_full_table_of_the_leader_drops_deleted_topics() {
    let mut registry = group();
    let mut next = ours("b", 1, true, 3, 11);
    next.topics = topics(&["TBW102", "new"]);
    next.version.counter = 2;
    registry.register(1, next.clone()).unwrap();
    assert!(perm(&registry, "t", "b").is_none());
    assert!(perm(&registry, "new", "b").is_some());
    next.topics = topics(&["added"]);
    next.version.counter = 3;
    registry.register(2, next).unwrap();
    assert!(perm(&registry, "new", "b").is_some(), "one topic alone is an addition");
}

#[test]
fn a_late_good_bye_does_not_remove_the_successor() {
    let mut registry = group();
    let mut restarted = ours("b", 2, false, 3, 20);
    restarted.connection = 50;
    registry.register(1, restarted).unwrap();
    registry.unregister("c", "b", &address("b", 2), 2);
    assert_eq!(route(&registry, "t", "b").len(), 3);
    registry.unregister("c", "b", &address("b", 2), 51);
    assert_eq!(route(&registry, "t", "b").len(), 2);
}

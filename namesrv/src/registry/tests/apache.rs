//! What Apache's brokers and tools get: as Apache's name server does.

use super::*;

#[test]
fn a_registered_topic_has_a_route_and_an_unknown_one_has_none() {
    let mut registry = Registry::new();
    registry.register(0, registration("b", 0)).unwrap();
    registry.register(0, registration("b", 1)).unwrap();
    assert_eq!(route(&registry, "t", "b"), [(0, address("b", 0)), (1, address("b", 1))]);
    assert!(registry.route("absent", RouteQuery::default()).is_none());
}

#[test]
fn a_slave_learns_the_master_and_its_own_topics_do_not_count() {
    let mut registry = Registry::new();
    registry.register(0, registration("b", 0)).unwrap();
    let mut slave = registration("b", 1);
    slave.topics = topics(&["t", "only at the slave"]);
    let master = registry.register(0, slave).unwrap().master.unwrap();
    assert_eq!((master.address, master.ha_address), (address("b", 0), format!("{}-ha", address("b", 0))));
    assert!(registry.route("only at the slave", RouteQuery::default()).is_none());
}

#[test]
fn one_topic_alone_is_refused_first_and_taken_later() {
    let mut registry = Registry::new();
    let mut single = registration("b", 0);
    single.topics = topics(&["new"]);
    assert_eq!(registry.register(0, single.clone()), Err(RegisterError::SingleTopicFirst));
    assert_eq!(registry.group_count(), 0, "nothing was changed");
    registry.register(0, registration("b", 0)).unwrap();
    single.version.counter = 2;
    registry.register(1, single).unwrap();
    assert!(perm(&registry, "new", "b").is_some());
    assert!(perm(&registry, "t", "b").is_some(), "topics never disappear by registration");
}

#[test]
fn topics_are_taken_over_only_with_another_version() {
    let mut registry = Registry::new();
    registry.register(0, registration("b", 0)).unwrap();
    let mut again = registration("b", 0);
    again.topics[1].1.perm = 4;
    registry.register(1, again.clone()).unwrap();
    assert_eq!(perm(&registry, "t", "b"), Some(6));
    again.version.counter += 1;
    registry.register(2, again).unwrap();
    assert_eq!(perm(&registry, "t", "b"), Some(4));
}

#[test]
fn missing_topics_are_dropped_only_when_switched_on() {
    let mut registry = Registry::new();
    registry.register(0, registration("b", 0)).unwrap();
    let mut other = registration("b", 0);
    other.topics = topics(&["TBW102", "u"]);
    other.version.counter = 2;
    registry.register(1, other.clone()).unwrap();
    assert!(perm(&registry, "t", "b").is_some());
    registry.set_policy(Policy { delete_topics_by_registration: true, ..Policy::default() });
    other.version.counter = 3;
    registry.register(2, other).unwrap();
    assert!(perm(&registry, "t", "b").is_none());
}

#[test]
fn a_greater_state_version_keeps_the_id_and_an_equal_one_loses_it() {
    let mut registry = Registry::new();
    let mut holder = registration("b", 0);
    holder.version.state_version = 5;
    registry.register(0, holder).unwrap();
    let mut rival = registration("b", 0);
    rival.address = "rival:1".into();
    rival.version.state_version = 4;
    assert!(!accepted(&mut registry, 1, rival.clone()));
    assert_eq!(route(&registry, "t", "b"), [(0, address("b", 0))]);
    rival.version.state_version = 5;
    assert!(accepted(&mut registry, 2, rival));
    assert_eq!(route(&registry, "t", "b"), [(0, "rival:1".to_owned())]);
}

#[test]
fn an_address_is_under_one_id_only() {
    let mut registry = Registry::new();
    registry.register(0, registration("b", 0)).unwrap();
    registry.register(0, registration("b", 1)).unwrap();
    let mut promoted = registration("b", 0);
    promoted.address = address("b", 1);
    registry.register(1, promoted).unwrap();
    assert_eq!(route(&registry, "t", "b"), [(0, address("b", 1))]);
}

#[test]
fn a_closed_connection_removes_at_once_what_registered_over_it() {
    let mut registry = Registry::new();
    registry.register(0, registration("b", 0)).unwrap();
    let mut renewed = registration("b", 0);
    renewed.connection = 77;
    registry.register(1, renewed).unwrap();
    registry.connection_closed(registration("b", 0).connection);
    assert_eq!(route(&registry, "t", "b").len(), 1, "registered over another connection since");
    registry.connection_closed(77);
    assert_eq!((registry.group_count(), registry.topic_count(), registry.replica_count()), (0, 0, 0));
    assert!(registry.cluster_info().cluster_addr_table.is_empty());
}

#[test]
fn silence_beyond_the_time_named_removes_and_a_heartbeat_does_not_let_it_come() {
    let mut registry = Registry::new();
    registry.register(0, registration("b", 0)).unwrap();
    let mut unnamed = registration("b", 1);
    unnamed.silence_ms = None;
    registry.register(0, unnamed).unwrap();
    assert!(registry.heartbeat(20_000, "c", &address("b", 0), None));
    assert!(!registry.heartbeat(20_000, "c", "unknown:1", None));
    assert!(registry.expire(50_000).is_empty());
    assert_eq!(registry.expire(50_001), [registration("b", 0).connection]);
    assert_eq!(route(&registry, "t", "b"), [(1, address("b", 1))], "no stand-in for Apache's");
    assert!(registry.expire(120_000).is_empty(), "the default is 120 s");
    assert_eq!(registry.expire(120_001).len(), 1);
    assert_eq!(registry.group_count(), 0);
}

#[test]
fn queue_data_stays_when_only_the_master_leaves() {
    let mut registry = Registry::new();
    registry.register(0, registration("b", 0)).unwrap();
    registry.register(0, registration("b", 1)).unwrap();
    registry.unregister("c", "b", &address("b", 0), 1);
    assert_eq!(route(&registry, "t", "b"), [(1, address("b", 1))]);
    assert_eq!(perm(&registry, "t", "b"), Some(6));
    assert_eq!(registry.leaderless().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn an_acting_master_cannot_be_written_and_shows_as_0_when_switched_on() {
    let mut registry = Registry::new();
    let acting = |id| Registration { acting_master: true, ..registration("b", id) };
    registry.register(0, acting(0)).unwrap();
    registry.register(0, acting(2)).unwrap();
    registry.unregister("c", "b", &address("b", 0), 1);
    assert_eq!(perm(&registry, "t", "b"), Some(4));
    assert_eq!(route(&registry, "t", "b"), [(2, address("b", 2))]);
    registry.set_policy(Policy { support_acting_master: true, ..Policy::default() });
    assert!(registry.take_changed());
    assert_eq!(route(&registry, "t", "b"), [(0, address("b", 2))]);
}

#[test]
fn a_zone_shows_its_own_brokers_and_those_without_a_master() {
    let mut registry = Registry::new();
    for (name, zone, id) in [("a", Some("z1"), 0), ("b", Some("z2"), 0), ("d", None, 1)] {
        let zone = zone.map(str::to_owned);
        registry.register(0, Registration { zone, ..registration(name, id) }).unwrap();
    }
    registry.register_topic("t", &[("d".to_owned(), QUEUES)]);
    let route = registry.route("t", RouteQuery { zone: Some("Z1") }).unwrap();
    let names: Vec<_> = route.broker_datas.iter().map(|data| data.broker_name.as_str()).collect();
    assert_eq!(names, ["a", "d"]);
    assert_eq!(route.queue_datas.len(), 2);
}

#[test]
fn wiped_write_permission_stays_away_until_it_is_given_back() {
    let mut registry = Registry::new();
    assert_eq!(registry.wipe_write_permission("b"), 0);
    registry.register(0, registration("b", 0)).unwrap();
    assert_eq!(perm(&registry, "t", "b"), Some(6), "an unknown name was not remembered as wiped");
    assert_eq!(registry.wipe_write_permission("b"), 2);
    let mut changed = registration("b", 0);
    changed.version.counter = 2;
    changed.topics = topics(&["TBW102", "t", "new"]);
    registry.register(1, changed).unwrap();
    assert_eq!((perm(&registry, "t", "b"), perm(&registry, "new", "b")), (Some(4), Some(4)));
    registry.expire(1_000_000);
    registry.register(1_000_000, registration("b", 0)).unwrap();
    assert_eq!(perm(&registry, "t", "b"), Some(4), "also after the broker was gone");
    assert_eq!(registry.add_write_permission("b"), 2);
    assert_eq!(perm(&registry, "t", "b"), Some(6));
}

#[test]
fn topics_are_deleted_everywhere_or_in_one_cluster() {
    let mut registry = Registry::new();
    registry.register(0, registration("a", 0)).unwrap();
    registry.register(0, Registration { cluster: "d".into(), ..registration("b", 0) }).unwrap();
    registry.delete_topic("t", Some("d"));
    assert_eq!((perm(&registry, "t", "a"), perm(&registry, "t", "b")), (Some(6), None));
    registry.delete_topic("TBW102", None);
    registry.delete_topic("absent", None);
    assert!(registry.route("TBW102", RouteQuery::default()).is_none());
    assert_eq!(registry.topics(TopicFilter::All), ["t"]);
    assert_eq!(registry.topics(TopicFilter::Cluster("d")), Vec::<String>::new());
    assert_eq!(registry.topics(TopicFilter::Cluster("absent")), Vec::<String>::new());
}

#[test]
fn tools_may_add_a_topic_at_known_broker_names_only() {
    let mut registry = Registry::new();
    registry.register(0, registration("b", 0)).unwrap();
    let brokers = [("b".to_owned(), QUEUES), ("unknown".to_owned(), QUEUES)];
    assert!(registry.register_topic("new", &brokers));
    let route = registry.route("new", RouteQuery::default()).unwrap();
    assert_eq!(route.queue_datas.len(), 1);
}

#[test]
fn unit_lists_follow_the_flags() {
    let mut registry = Registry::new();
    let mut flagged = registration("b", 0);
    flagged.topics = [("plain", 0), ("unit", 1), ("subscribed", 2), ("both", 3)]
        .map(|(topic, sys_flag)| (topic.to_owned(), TopicQueues { sys_flag, ..QUEUES }))
        .to_vec();
    registry.register(0, flagged).unwrap();
    assert_eq!(registry.topics(TopicFilter::Unit), ["both", "unit"]);
    assert_eq!(registry.topics(TopicFilter::UnitSubscription), ["both", "subscribed"]);
    assert_eq!(registry.topics(TopicFilter::UnitSubscriptionNotUnit), ["subscribed"]);
    assert_eq!(registry.topics_after("both", 2), ["plain", "subscribed"]);
    assert_eq!(registry.system_topics(), (vec!["c".into(), "b".into()], Some(address("b", 0))));
}

#[test]
fn a_registration_that_changes_nothing_leaves_routes_as_they_are() {
    let mut registry = Registry::new();
    registry.register(0, registration("b", 0)).unwrap();
    registry.register(0, ours("o", 1, true, 1, 5)).unwrap();
    registry.register(0, ours("o", 2, false, 1, 5)).unwrap();
    assert!(registry.take_changed());
    registry.register(1, registration("b", 0)).unwrap();
    registry.register(1, ours("o", 1, true, 1, 9)).unwrap();
    registry.register(1, ours("o", 2, false, 1, 8)).unwrap();
    registry.heartbeat(2, "c", &address("o", 2), Some(20));
    registry.expire(3);
    assert!(!registry.take_changed());
}

#[test]
fn bounds_refuse_before_anything_changes() {
    let mut registry = Registry::new();
    for id in 0..i64::try_from(crate::limits::REPLICAS_MAX).unwrap() {
        registry.register(0, registration("b", id)).unwrap();
    }
    let refused = registry.register(0, registration("b", 1_000));
    assert_eq!(refused, Err(RegisterError::TooMany("replicas")));
    let mut many = registration("d", 0);
    many.topics = (0..=crate::limits::TOPICS_MAX).map(|index| (index.to_string(), QUEUES)).collect();
    assert_eq!(registry.register(0, many), Err(RegisterError::TooMany("topics")));
    assert_eq!(registry.group_count(), 1);
}

//! Hand-worked examples, and that every queue has exactly one member. The consistent-hash example was computed with
//! RocketMQ 5.3.2's AllocateMessageQueueConsistentHash.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn queues(brokers: &[&str], count: i32) -> Vec<MessageQueue> {
    let of = |broker: &str| {
        let broker_name = broker.to_owned();
        (0..count).map(move |queue_id| MessageQueue {
            topic: "t".into(),
            broker_name: broker_name.clone(),
            queue_id,
        })
    };
    brokers.iter().flat_map(|broker| of(broker)).collect()
}

fn members(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number}")).collect()
}

fn names(queues: &[MessageQueue]) -> Vec<String> {
    queues.iter().map(|queue| format!("{}{}", queue.broker_name, queue.queue_id)).collect()
}

fn shares(strategy: &dyn Allocation, queues: &[MessageQueue], members: &[String]) -> Vec<Vec<String>> {
    members.iter().map(|me| names(&strategy.allocate(me, queues, members).unwrap())).collect()
}

#[test]
fn averagely_gives_runs_and_the_first_get_one_more() {
    let queues = queues(&["a", "b"], 4);
    assert_eq!(
        shares(&Averagely, &queues, &members(3)),
        [vec!["a0", "a1", "a2"], vec!["a3", "b0", "b1"], vec!["b2", "b3"]]
    );
    assert_eq!(shares(&Averagely, &queues[..2], &members(3)), [vec!["a0"], vec!["a1"], vec![]]);
}

#[test]
fn by_circle_deals_one_by_one() {
    assert_eq!(
        shares(&AveragelyByCircle, &queues(&["a", "b"], 4), &members(3)),
        [vec!["a0", "a3", "b2"], vec!["a1", "b0", "b3"], vec!["a2", "b1"]]
    );
}

#[test]
fn consistent_hash_equals_java_and_moves_only_what_the_leaver_had() {
    let queues = queues(&["a", "b"], 4);
    assert_eq!(
        shares(&ConsistentHash::default(), &queues, &members(3)),
        [vec!["a1", "a2", "b2"], vec!["b1"], vec!["a0", "a3", "b0", "b3"]]
    );
    assert_eq!(
        shares(&ConsistentHash::default(), &queues, &["c0".into(), "c2".into()]),
        [vec!["a1", "a2", "b2"], vec!["a0", "a3", "b0", "b1", "b3"]]
    );
}

#[test]
fn by_machine_room_looks_at_the_broker_name() {
    let strategy = ByMachineRoom { rooms: BTreeSet::from(["r1".into()]) };
    let queues = queues(&["r1@a", "r1@b", "r2@c", "plain", "r1@x@y"], 2);
    let shares = shares(&strategy, &queues, &members(3));
    // Four queues of room r1: one each, the rest of one goes to the first member.
    assert_eq!(shares, [vec!["r1@a0", "r1@b1"], vec!["r1@a1"], vec!["r1@b0"]]);
}

#[derive(Debug)]
struct FirstLetter;

impl MachineRooms for FirstLetter {
    fn of_queue(&self, queue: &MessageQueue) -> String {
        queue.broker_name.chars().take(1).collect()
    }

    fn of_member(&self, client_id: &str) -> String {
        client_id.chars().take(1).collect()
    }
}

#[test]
fn nearby_prefers_the_own_room_and_shares_the_deserted_one() {
    let strategy = MachineRoomNearby { within: Arc::new(Averagely), rooms: Arc::new(FirstLetter) };
    assert_eq!(strategy.name(), "MACHINE_ROOM_NEARBY-AVG");
    let members = ["a1", "a2", "b1"].map(str::to_owned);
    let shares = shares(&strategy, &queues(&["a", "b", "z"], 2), &members);
    assert_eq!(shares, [vec!["a0", "z0"], vec!["a1", "z1"], vec!["b0", "b1"]]);
    assert!(strategy.allocate("a1", &queues(&[""], 1), &members).is_err(), "a broker without a room");
}

#[test]
fn by_config_gives_what_the_topic_has_of_it() {
    let strategy = ByConfig { queues: queues(&["a", "q"], 1) };
    assert_eq!(shares(&strategy, &queues(&["a"], 2), &members(1)), [vec!["a0"]]);
}

#[test]
fn who_is_not_a_member_gets_nothing() {
    let strategies: [&dyn Allocation; 3] = [&Averagely, &AveragelyByCircle, &ConsistentHash::default()];
    for strategy in strategies {
        assert!(strategy.allocate("other", &queues(&["a"], 2), &members(2)).unwrap().is_empty());
    }
}

proptest! {
    #[test]
    fn prop_every_queue_has_exactly_one_member(queue_count in 1..40i32, member_count in 1..20usize) {
        let rooms = BTreeSet::from(["r".to_owned()]);
        let nearby = MachineRoomNearby { within: Arc::new(AveragelyByCircle), rooms: Arc::new(FirstLetter) };
        let strategies: [&dyn Allocation; 5] =
            [&Averagely, &AveragelyByCircle, &ConsistentHash::default(), &ByMachineRoom { rooms }, &nearby];
        let queues = queues(&["r@a", "r@b"], queue_count);
        for strategy in strategies {
            let mut given: Vec<String> = shares(strategy, &queues, &members(member_count)).concat();
            given.sort();
            let mut all = names(&queues);
            all.sort();
            prop_assert_eq!(given, all, "{}", strategy.name());
        }
    }
}

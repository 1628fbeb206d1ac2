//! Same log, same tables: random histories, applied twice, across checkpoints, and with tails that are cut off.

use flotilla_core::{
    Command, DelayDone, DelayLevels, Grant, LeaveReason, LockClaim, LockQueues, OffsetCommit, Perm,
    QueueMinimum, Settings, Tables, TailTable, TopicConfig, UnlockClaim, UnlockQueues,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{World, group, join, message_with_flag, payload, subscription, topic};

const TOPICS: [&str; 5] = ["alpha", "beta", "alphabet", "TBW102", "SCHEDULE_TOPIC_XXXX"];
const GROUPS: [&str; 3] = ["g", "h", "i"];
const CLIENTS: [&str; 3] = ["c1", "c2", "c3"];

fn any_topic() -> impl Strategy<Value = &'static str> + Clone {
    proptest::sample::select(TOPICS.as_slice())
}

fn any_group() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(GROUPS.as_slice())
}

fn any_client() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(CLIENTS.as_slice())
}

fn any_command() -> impl Strategy<Value = Command> {
    let config = (any_topic(), 0_u32..5, 0_u8..8)
        .prop_map(|(name, queues, perm)| TopicConfig::new(name, queues, Perm(perm)));
    let commits = vec((any_group(), any_topic(), 0_u32..4, -1_i64..50), 0..4).prop_map(|commits| {
        let commit = |(group, topic, queue_id, offset): (&str, &str, _, _)| OffsetCommit {
            group: group.into(),
            topic: topic.into(),
            queue_id,
            offset,
        };
        Command::CommitOffsets(commits.into_iter().map(commit).collect())
    });
    let any_offset = || {
        (any_group(), any_topic(), 0_u32..4, 0_i64..9).prop_map(|(group, topic, queue_id, offset)| {
            OffsetCommit { group: group.into(), topic: topic.into(), queue_id, offset }
        })
    };
    let minimums =
        (0_u64..5000, vec((any_topic(), 0_u32..4, 0_i64..20), 0..4)).prop_map(|(log_position, queues)| {
            let queue =
                |(topic, queue_id, min): (&str, _, _)| QueueMinimum { topic: topic.into(), queue_id, min };
            Command::RaiseMinimum { log_position, queues: queues.into_iter().map(queue).collect() }
        });
    let delay = (0_u32..6, 0_i64..6, 0_i64..9, 0_u64..5000).prop_map(|(queue_id, from, to, position)| {
        Command::DelayDone(DelayDone { queue_id, from, to, position })
    });
    let settings = (any::<bool>(), any::<bool>(), 0_u32..9).prop_map(
        |(auto_create_topic, trace_topic_enable, queues)| {
            Command::PutSettings(Settings {
                auto_create_topic,
                trace_topic_enable,
                default_topic_queue_count: queues,
                delay_levels: DelayLevels::parse(&format!("{queues}s")).unwrap(),
                ..Settings::default()
            })
        },
    );
    let locks = (any_group(), any_client(), any_topic(), 0_u32..3, proptest::option::of(0_u64..9)).prop_map(
        |(group, client, topic, queue_id, previous)| {
            let number = |previous: Option<u64>| previous.map_or(1, |number| number + 1);
            let grant_before = previous.map(|number| Grant { term: 1, number });
            let queues = vec![LockClaim { topic: topic.into(), queue_id, previous: grant_before }];
            let (group, client_id) = (group.into(), client.into());
            let grant = Grant { term: 1, number: number(previous) };
            Command::Lock(Box::new(LockQueues { group, client_id, grant, queues }))
        },
    );
    let unlocks = (any_group(), any_client(), any_topic(), 0_u32..3, 0_u64..9).prop_map(
        |(group, client, topic, queue_id, number)| {
            let queues =
                vec![UnlockClaim { topic: topic.into(), queue_id, grant: Grant { term: 1, number } }];
            let (group, client_id) = (group.into(), client.into());
            Command::Unlock(Box::new(UnlockQueues { group, client_id, term: 1, queues }))
        },
    );
    prop_oneof![
        config.clone().prop_map(Command::CreateTopic),
        config.prop_map(Command::PutTopic),
        any_topic().prop_map(|topic| Command::DeleteTopic { topic: topic.into() }),
        any_group().prop_map(|name| Command::CreateGroup(group(name))),
        any_group().prop_map(|name| Command::PutGroup(flotilla_core::GroupConfig {
            retry_times_max: 3,
            ..group(name)
        })),
        (any_group(), any::<bool>())
            .prop_map(|(group, clean_offsets)| Command::DeleteGroup { group: group.into(), clean_offsets }),
        commits,
        (any_group(), any_client(), any_topic(), 0_i64..4).prop_map(|(group, client, topic, version)| join(
            group,
            client,
            &[subscription(topic, "*", version)]
        )),
        (any_group(), any_client()).prop_map(|(group, client)| Command::Leave {
            group: group.into(),
            client_id: client.into(),
            reason: LeaveReason::Unregistered,
        }),
        minimums,
        settings,
        delay,
        locks,
        unlocks,
        vec(any_offset(), 0..4).prop_map(Command::ResetOffsets),
        any_offset().prop_map(Command::FollowReset),
        (any_group(), any_group(), vec(any_topic(), 0..3)).prop_map(|(source, target, topics)| {
            let topics = topics.into_iter().map(Into::into).collect();
            Command::CloneOffsets { source: source.into(), target: target.into(), topics }
        }),
        (any_group(), any_topic(), any::<bool>()).prop_map(|(group, topic, forbidden)| {
            Command::ForbidRead { group: group.into(), topic: topic.into(), forbidden }
        }),
    ]
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let flag = proptest::sample::select([0_u32, 0, 0, 0, 4, 8, 12].as_slice());
    (any_topic(), 0_u32..6, "[a-z]{0,9}", proptest::option::of("[A-C]"), flag).prop_map(
        |(topic, queue_id, body, tag, flag)| {
            let properties = tag.map(|tag| format!("TAGS\u{1}{tag}\u{2}")).unwrap_or_default();
            message_with_flag(topic, queue_id, &body, &properties, flag)
        },
    )
}

/// One entry's payload: mostly messages, sometimes commands, sometimes both.
fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    let commands = prop_oneof![2 => vec(any_command(), 0..1), 3 => vec(any_command(), 1..4)];
    (commands, vec(any_message(), 0..8)).prop_map(|(commands, messages)| payload(&commands, &messages))
}

fn world_of(payloads: &[Vec<u8>]) -> World {
    let mut world = World::bootstrapped();
    for payload in payloads {
        world.append(payload.clone());
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Twice, and across a checkpoint at any entry, and from a clone that was taken while the original went on.
    #[test]
    fn prop_same_log_same_tables(payloads in vec(any_payload(), 1..25), cut in any::<prop::sample::Index>()) {
        let mut world = world_of(&payloads);
        let cut = cut.index(world.log.len());
        let mut effects = Vec::new();
        let mut at_cut = None;
        while world.applied < world.log.len() {
            if world.applied == cut + 1 {
                at_cut = Some((world.tables.clone(), world.tables.encode()));
            }
            effects.push(world.apply_next());
        }
        let (clone, encoded) = at_cut.unwrap_or_else(|| (world.tables.clone(), world.tables.encode()));
        prop_assert_eq!(&clone.encode(), &encoded, "a clone keeps its moment");

        let mut twice = Tables::blank();
        let mut across = Tables::decode(&encoded).unwrap();
        for (number, entry) in world.log.iter().enumerate() {
            let again = twice.apply(&entry.context, &entry.payload).unwrap();
            if number > 0 {
                prop_assert_eq!(&again, &effects[number - 1]);
            }
            if number > cut {
                prop_assert_eq!(&across.apply(&entry.context, &entry.payload).unwrap(), &effects[number - 1]);
            }
        }
        let end = world.tables.encode();
        prop_assert_eq!(&twice.encode(), &end);
        prop_assert_eq!(&across.encode(), &end);
        let next: Vec<_> = world.tables.queue_maximums().into_iter().map(|q| (q.topic, q.queue_id, q.min)).collect();
        prop_assert_eq!(world.tail.snapshot(), next, "with everything applied the tail is the tables' end");
    }

    /// A follower sees what the leader stamped; cutting any tail off and writing it again gives the same numbers and bytes.
    #[test]
    fn prop_retract_is_the_inverse_of_stamp(payloads in vec(any_payload(), 1..20), keep in any::<prop::sample::Index>()) {
        let leader = world_of(&payloads);
        let keep = keep.index(leader.log.len()) + 1;
        let mut follower = TailTable::new();
        let mut at_cut = Vec::new();
        for (number, entry) in leader.log.iter().enumerate() {
            follower.observe(&entry.payload, entry.context.payload_position, entry.context.time_ms).unwrap();
            if number + 1 == keep {
                at_cut = follower.snapshot();
            }
        }
        prop_assert_eq!(follower.snapshot(), leader.tail.snapshot());
        for entry in leader.log[keep..].iter().rev() {
            follower.retract(&entry.payload);
        }
        prop_assert_eq!(follower.snapshot(), at_cut);
        for entry in &leader.log[keep..] {
            let mut again = entry.payload.clone();
            follower.stamp(&mut again, entry.context.payload_position, entry.context.time_ms).unwrap();
            prop_assert_eq!(&again, &entry.payload);
        }
        prop_assert_eq!(follower.snapshot(), leader.tail.snapshot());
    }

    /// While a reader has not followed, the group's offset is the one that it was reset to, whatever is committed.
    #[test]
    fn prop_a_reset_holds_until_it_is_followed(payloads in vec(any_payload(), 1..30)) {
        let mut world = world_of(&payloads);
        while world.applied < world.log.len() {
            world.apply_next();
            for group in GROUPS {
                for topic in TOPICS {
                    for queue_id in 0..4 {
                        if let Some(target) = world.tables.reset_offset(group, topic, queue_id) {
                            prop_assert_eq!(world.tables.consumer_offset(group, topic, queue_id), Some(target));
                            prop_assert!(world.tables.topic(topic).is_some());
                        }
                    }
                }
            }
        }
    }

    /// Numbers are dense and final: every queue's messages are 0, 1, 2 ... in the order of the log, whatever commands lie between.
    #[test]
    fn prop_queue_numbers_are_dense_for_ever(payloads in vec(any_payload(), 1..25)) {
        let mut world = world_of(&payloads);
        let mut next = std::collections::BTreeMap::new();
        while world.applied < world.log.len() {
            for appended in world.apply_next().appended {
                let expected = next.entry((appended.topic, appended.queue_id)).or_insert(0);
                prop_assert_eq!(appended.queue_offset, *expected);
                *expected += 1;
            }
            for ((topic, queue_id), count) in &next {
                if let Some(head) = world.tables.queue_head(topic, *queue_id) {
                    prop_assert!(0 <= head.base && head.base <= head.min && head.min <= head.max);
                    prop_assert_eq!(head.max, *count);
                }
            }
        }
    }
}

#[test]
fn a_stamped_field_that_was_changed_stops_apply() {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("alpha", 1))], &[]);
    world.append(payload(&[], &[message_with_flag("alpha", 0, "b", "", 0)]));
    let entry = world.log.last().unwrap().clone();
    for (at, expected) in [
        (4 + 27, "entry 2: alpha queue 0 holds 0 messages, the next one says it is 1"),
        (4 + 35, "says it is at"),
        (4 + 63, "entry 2: message says time 2, the entry 3"),
    ] {
        let mut payload = entry.payload.clone();
        payload[at] ^= 1;
        let error = world.tables.clone().apply(&entry.context, &payload).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    world.tables.apply(&entry.context, &entry.payload).unwrap();
    let again = world.tables.apply(&entry.context, &entry.payload).unwrap_err();
    assert_eq!(again.to_string(), "entry 2 does not follow entry 2");
}

#[test]
fn a_number_that_was_given_before_stops_apply() {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("alpha", 1))], &[]);
    world.send("alpha", 0);
    world.append(payload(&[], &[message_with_flag("alpha", 0, "b", "", 0)]));
    let mut entry = world.log.last().unwrap().clone();
    entry.payload[4 + 27] = 0;
    let error = world.tables.apply(&entry.context, &entry.payload).unwrap_err().to_string();
    assert_eq!(error, "entry 3: alpha queue 0 holds 1 messages, the next one says it is 0");
}

#[test]
fn groups_without_offsets_leave_nothing_behind() {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("alpha", 1))], &[]);
    let commit = OffsetCommit { group: "g".into(), topic: "alpha".into(), queue_id: 0, offset: 1 };
    world.commit(&[Command::CommitOffsets(vec![commit])], &[]);
    let reset = OffsetCommit { group: "h".into(), topic: "alpha".into(), queue_id: 0, offset: 0 };
    world.commit(&[Command::ResetOffsets(vec![reset])], &[]);
    // Sections of a checkpoint: offsets and resets, four bytes, no group.
    let none = |number| [number, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let holds = |world: &World, number| {
        let bytes = world.tables.encode();
        !bytes.windows(16).any(|part| part == none(number))
    };
    assert!(holds(&world, 5) && holds(&world, 17));
    world.commit(&[Command::DeleteTopic { topic: "alpha".into() }], &[]);
    assert!(!holds(&world, 5) && !holds(&world, 17));
}

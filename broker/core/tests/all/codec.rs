//! Commands and checkpoints as bytes: round trips, limits, and hostile input.

use std::sync::Arc;

use flotilla_core::codec::{CodecReason, Reader};
use flotilla_core::{
    Answer, Command, DelayDone, DelayLevels, FilterType, Grant, GroupConfig, Hours, LeaveReason, LockClaim,
    LockQueues, OffsetCommit, Payload, PayloadError, Perm, QueueMinimum, Refusal, Retention, RetryPolicy,
    SettingChange, Settings, SimpleSubscription, Tables, TailTable, TopicConfig, UnlockClaim, UnlockQueues,
    system,
};
use proptest::prelude::*;

use crate::support::{World, join, message, payload, subscription, topic};

fn every_command() -> Vec<Command> {
    let topic = TopicConfig {
        read_queue_count: 3,
        write_queue_count: 5,
        perm: Perm(7),
        filter_type: FilterType::MultiTag,
        sys_flag: 2,
        order: true,
        attributes: [("message.type".to_owned(), "NORMAL".to_owned())].into(),
        ..topic("T", 0)
    };
    let exponential = RetryPolicy::Exponential { initial_ms: 5000, max_ms: 7_200_000, multiplier: 2 };
    let group = GroupConfig {
        retry_policy: exponential,
        subscriptions: vec![SimpleSubscription {
            topic: "T".into(),
            expression_type: "SQL92".into(),
            expression: "a > 3".into(),
            version: 9,
        }],
        ..GroupConfig::new("g")
    };
    let steps = RetryPolicy::Customized { next_ms: Some(vec![1, 2, 3]) };
    vec![
        Command::Bootstrap(Box::new(system::bootstrap("Cluster", "broker-a", Settings::default()))),
        Command::PutSettings(Settings {
            young_queue_bytes: 7,
            auto_create_topic: false,
            retention: Retention {
                delete_when: Hours::of([0, 23]),
                log_bytes_max: 1 << 40,
                ..Retention::default()
            },
            delay_levels: DelayLevels::parse("3s 1d").unwrap(),
            ..Settings::default()
        }),
        Command::CreateTopic(topic.clone()),
        Command::PutTopic(topic),
        Command::DeleteTopic { topic: "T".into() },
        Command::CreateGroup(GroupConfig { retry_policy: steps, ..GroupConfig::new("h") }),
        Command::PutGroup(group),
        Command::DeleteGroup { group: "g".into(), clean_offsets: true },
        Command::CommitOffsets(vec![
            OffsetCommit { group: "g".into(), topic: "T".into(), queue_id: 3, offset: -1 },
            OffsetCommit { group: "g".into(), topic: "U".into(), queue_id: 0, offset: i64::MAX },
        ]),
        join("g", "c1", &[subscription("T", "A || B", 5), subscription("%RETRY%g", "*", 5)]),
        Command::Leave { group: "g".into(), client_id: "c1".into(), reason: LeaveReason::Silent },
        Command::RaiseMinimum {
            log_position: 1 << 40,
            queues: vec![QueueMinimum { topic: "T".into(), queue_id: 1, min: 12 }],
        },
        Command::ForbidRead { group: "g".into(), topic: "T".into(), forbidden: true },
        Command::ResetOffsets(vec![offset("g", "T", 3, 4), offset("g", "U", 0, i64::MAX)]),
        Command::FollowReset(offset("g", "T", 3, 4)),
        Command::CloneOffsets {
            source: "g".into(),
            target: "h".into(),
            topics: vec!["T".into(), "U".into()],
        },
        Command::ChangeSettings(every_change()),
        Command::DelayDone(DelayDone { queue_id: 17, from: 3, to: i64::MAX, position: 1 << 50 }),
        Command::Lock(Box::new(LockQueues {
            group: "g".into(),
            client_id: "c1".into(),
            grant: Grant { term: 7, number: 3 },
            queues: vec![
                LockClaim { topic: "T".into(), queue_id: 1, previous: None },
                LockClaim { topic: "T".into(), queue_id: 2, previous: Some(Grant { term: 6, number: 99 }) },
            ],
        })),
        Command::Unlock(Box::new(UnlockQueues {
            group: "g".into(),
            client_id: "c1".into(),
            term: 7,
            queues: vec![UnlockClaim {
                topic: "T".into(),
                queue_id: 2,
                grant: Grant { term: 6, number: 99 },
            }],
        })),
    ]
}

fn every_change() -> Vec<SettingChange> {
    vec![
        SettingChange::BrokerPermission(Perm(4)),
        SettingChange::AutoCreateTopic(false),
        SettingChange::AutoCreateGroup(false),
        SettingChange::DefaultTopicQueueCount(3),
        SettingChange::ClusterTopicEnable(false),
        SettingChange::BrokerTopicEnable(false),
        SettingChange::TraceTopicEnable(true),
        SettingChange::PropertyFilterEnable(true),
        SettingChange::YoungQueueBytes(9),
        SettingChange::MessageSizeMax(2048),
        SettingChange::ReservedHours(1),
        SettingChange::DeleteWhen(Hours::of([0, 23])),
        SettingChange::DiskUsedPercentMax(50),
        SettingChange::DeleteForcibly(false),
        SettingChange::LogBytesMax(1 << 40),
        SettingChange::DelayLevels(DelayLevels::parse("1s 2m 3h 4d").unwrap()),
    ]
}

fn offset(group: &str, topic: &str, queue_id: u32, offset: i64) -> OffsetCommit {
    OffsetCommit { group: group.into(), topic: topic.into(), queue_id, offset }
}

fn encoded(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode_framed(&mut bytes);
    bytes
}

#[test]
fn every_command_reads_back_as_it_was() {
    let mut kinds = std::collections::BTreeSet::new();
    for command in every_command() {
        let bytes = encoded(&command);
        kinds.insert(bytes[0]);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Command::decode_framed(&mut reader).unwrap(), command);
        assert!(reader.is_empty());
        assert_eq!(Command::decode(&command.encode()).unwrap(), command);
        assert!(Command::decode(&[&bytes[..], b"x"].concat()).is_err());
    }
    let known: Vec<u8> = (1..=20).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), known, "every kind is covered");
}

#[test]
fn every_answer_reads_back_as_it_was() {
    let refusals = [
        Refusal::UnknownTopic("t".into()),
        Refusal::UnknownGroup("g".into()),
        Refusal::UnknownMember { group: "g".into(), client_id: "c".into() },
        Refusal::TooManyQueues { count: 9, limit: 8 },
        Refusal::OtherIdentity { cluster: "C".into(), broker: "B".into() },
        Refusal::DelayOrder { queue_id: 4, expected: 9, found: -1 },
        Refusal::OtherTerm { decided: 3, applied: 4 },
    ];
    for answer in [Answer::Done, Answer::Unchanged].into_iter().chain(refusals.map(Answer::Refused)) {
        let bytes = answer.encode();
        assert_eq!(Answer::decode(&bytes).unwrap(), answer);
        assert!(Answer::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Answer::decode(&[&bytes[..], b"x"].concat()).is_err());
    }
}

#[test]
fn runs_are_as_long_as_they_can_be() {
    let mut world = World::bootstrapped();
    let messages =
        [("A", 0), ("A", 0), ("A", 1), ("B", 1), ("B", 1), ("A", 0)].map(|(t, q)| message(t, q, "b", ""));
    let effects =
        world.commit(&[Command::PutTopic(topic("A", 2)), Command::PutTopic(topic("B", 2))], &messages);
    let runs: Vec<_> =
        effects.runs().map(|run| (&**run.topic, run.queue_id, run.max, run.messages.len())).collect();
    assert_eq!(runs, [("A", 0, 2, 2), ("A", 1, 1, 1), ("B", 1, 2, 2), ("A", 0, 3, 1)]);
}

#[test]
fn the_bytes_of_a_command_are_fixed() {
    // kind, version, size, then the text with its length. Nodes of different versions share a log: this must not change.
    assert_eq!(
        encoded(&Command::DeleteTopic { topic: "ab".into() }),
        [5, 1, 6, 0, 0, 0, 2, 0, 0, 0, b'a', b'b']
    );
    let commit = OffsetCommit { group: "g".into(), topic: "t".into(), queue_id: 2, offset: -2 };
    assert_eq!(
        encoded(&Command::CommitOffsets(vec![commit])),
        [
            &[9, 1, 26, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'g', 1, 0, 0, 0, b't', 2, 0, 0, 0][..],
            &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF][..]
        ]
        .concat()
    );
}

#[test]
fn unknown_kinds_and_versions_are_named() {
    let mut bytes = encoded(&Command::DeleteTopic { topic: "ab".into() });
    bytes[0] = 99;
    let error = Command::decode_framed(&mut Reader::new(&bytes)).unwrap_err();
    assert_eq!((error.field, &error.reason), ("command kind", &CodecReason::Unknown(99)));
    bytes[0] = 5;
    bytes[1] = 2;
    let error = Command::decode_framed(&mut Reader::new(&bytes)).unwrap_err();
    assert_eq!(error.to_string(), "command version at byte 0: unknown value 2");
}

#[test]
fn a_body_that_does_not_fill_its_size_is_refused() {
    let mut bytes = encoded(&Command::DeleteTopic { topic: "ab".into() });
    bytes.push(0);
    bytes[2] += 1;
    let error = Command::decode_framed(&mut Reader::new(&bytes)).unwrap_err();
    assert_eq!(error.to_string(), "command body at byte 12: 1 bytes too many");
}

#[test]
fn payload_parts_are_cut_where_the_header_says() {
    let bytes = payload(&[Command::DeleteTopic { topic: "ab".into() }], &[message("T", 0, "b", "")]);
    let parts = Payload::parse(&bytes).unwrap();
    assert_eq!((parts.commands.len(), parts.messages_at), (12, 16));
    assert_eq!(parts.messages, message("T", 0, "b", ""));
    assert_eq!(Payload::parse(&[1, 0, 0]), Err(PayloadError::Truncated(3)));
    assert_eq!(Payload::parse(&[2, 0, 0, 0, 9]), Err(PayloadError::Truncated(5)));
}

fn full_tables() -> Tables {
    let mut world = World::bootstrapped();
    for command in every_command().into_iter().filter(|command| !matches!(command, Command::Leave { .. })) {
        world.commit(&[command], &[]);
    }
    world.commit(&[Command::PutTopic(topic("T", 3))], &[message("T", 2, "b", "")]);
    world.commit(&[Command::ResetOffsets(vec![offset("g", "T", 2, 1)])], &[]);
    world.tables
}

#[test]
fn checkpoints_say_what_they_can_not_be() {
    assert_eq!(Tables::decode(b"nothing").unwrap_err().to_string(), "not a checkpoint of the tables");
    let mut bytes = full_tables().encode();
    assert_eq!(Tables::decode(&bytes).unwrap().encode(), bytes);
    bytes[8] = 2;
    assert_eq!(
        Tables::decode(&bytes).unwrap_err().to_string(),
        "checkpoint format 2 is newer than this program"
    );
    bytes[8] = 1;
    bytes.truncate(bytes.len() - 1);
    assert!(
        Tables::decode(&bytes).unwrap_err().to_string().starts_with("checkpoint frame: section at byte ")
    );
}

#[test]
fn an_empty_checkpoint_is_the_blank_state() {
    assert_eq!(Tables::decode(&[]).unwrap().encode(), Tables::blank().encode());
}

#[test]
fn every_truncation_of_a_checkpoint_is_an_error() {
    let bytes = full_tables().encode();
    for size in 1..bytes.len() {
        assert!(Tables::decode(&bytes[..size]).is_err(), "{size}");
    }
}

proptest! {
    #[test]
    fn prop_arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Command::decode_framed(&mut Reader::new(&bytes));
        let _ = Payload::parse(&bytes);
        let _ = Tables::decode(&bytes);
        let mut tail = TailTable::new();
        let _ = tail.observe(&bytes, 100, 5);
        let _ = tail.reset(&bytes);
        let _ = tail.stamp(&mut bytes.clone(), 100, 5);
    }

    #[test]
    fn prop_mutated_commands_never_panic(which in 0_usize..every_command().len(), at in 0_usize..400, value in any::<u8>()) {
        let mut bytes = encoded(&every_command()[which]);
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(command) = Command::decode_framed(&mut Reader::new(&bytes)) {
            let again = encoded(&command);
            prop_assert_eq!(Command::decode_framed(&mut Reader::new(&again)).unwrap(), command);
        }
    }

    #[test]
    fn prop_mutated_checkpoints_never_panic(at in 0_usize..100_000, value in any::<u8>()) {
        let mut bytes = full_tables().encode();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(tables) = Tables::decode(&bytes) {
            let _ = (tables.topics(), tables.groups(), tables.queue_maximums(), tables.groups_of_topic("T"));
            let _ = Tables::decode(&tables.encode()).unwrap();
        }
    }
}

#[test]
fn names_are_interned_once_per_topic() {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("T", 1))], &[]);
    let first = world.send("T", 0).appended.remove(0).topic;
    let second = world.send("T", 0).appended.remove(0).topic;
    assert!(Arc::ptr_eq(&first, &second));
}

//! Histories as text: what goes in, what a client could see afterwards. Lines of a script:
//!
//! ```text
//! topic T 2                 put a topic with 2 queues          drop T             delete it
//! send T:0 T:1#A            one entry with these messages      create T 1         create unless it exists
//! commit g T:0 5            store an offset                    raise 900 T:0=1    retention
//! join g c1 T=*@3           join with a subscription           leave g c1
//! reset g T:0 5             move a group                       follow g T:0 5     a reader has followed
//! clone g h T U             copy offsets of topics             forbid g T | allow g T
//! group g | ungroup g       put, delete with its offsets       boot C B           bootstrap
//! queue T:0 | offset g T:0 | target g T:0 | reads g T | members g | version | checkpoint  questions
//! ```

use std::fmt::Write;

use flotilla_core::rules::{OffsetAnswer, query_consumer_offset};
use flotilla_core::{
    Answer, Command, Effects, LeaveReason, OffsetCommit, QueueMinimum, Settings, Tables, TailTable, system,
};

use crate::support::{World, group, join, message, subscription, topic};

fn queue_of(text: &str) -> (&str, u32) {
    let (topic, queue) = text.split_once(':').unwrap();
    (topic, queue.parse().unwrap())
}

fn run(script: &str) -> String {
    let mut world = World::default();
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match command_of(&words) {
            Some(command) => describe(&world.commit(&[command], &[])),
            None => other(&mut world, &words),
        };
        writeln!(out, "{line} -> {answer}").unwrap();
    }
    out
}

fn command_of(words: &[&str]) -> Option<Command> {
    Some(match *words {
        ["boot", cluster, broker] => {
            Command::Bootstrap(Box::new(system::bootstrap(cluster, broker, Settings::default())))
        }
        ["topic", name, queues] => Command::PutTopic(topic(name, queues.parse().unwrap())),
        ["create", name, queues] => Command::CreateTopic(topic(name, queues.parse().unwrap())),
        ["drop", name] => Command::DeleteTopic { topic: name.into() },
        ["group", name] => Command::PutGroup(group(name)),
        ["ungroup", name] => Command::DeleteGroup { group: name.into(), clean_offsets: true },
        ["commit", group, queue, offset] => Command::CommitOffsets(vec![offset_of(group, queue, offset)]),
        ["reset", group, queue, offset] => Command::ResetOffsets(vec![offset_of(group, queue, offset)]),
        ["follow", group, queue, offset] => Command::FollowReset(offset_of(group, queue, offset)),
        ["clone", source, target, ref topics @ ..] => Command::CloneOffsets {
            source: source.into(),
            target: target.into(),
            topics: topics.iter().map(|topic| (*topic).into()).collect(),
        },
        ["forbid", group, topic] => {
            Command::ForbidRead { group: group.into(), topic: topic.into(), forbidden: true }
        }
        ["allow", group, topic] => {
            Command::ForbidRead { group: group.into(), topic: topic.into(), forbidden: false }
        }
        ["join", group, client, ref subscriptions @ ..] => {
            let parse = |text: &&str| {
                let (topic, rest) = text.split_once('=').unwrap();
                let (expression, version) = rest.split_once('@').unwrap();
                subscription(topic, expression, version.parse().unwrap())
            };
            join(group, client, &subscriptions.iter().map(parse).collect::<Vec<_>>())
        }
        ["leave", group, client] => Command::Leave {
            group: group.into(),
            client_id: client.into(),
            reason: LeaveReason::Unregistered,
        },
        ["raise", position, ref queues @ ..] => {
            let parse = |text: &&str| {
                let (queue, min) = text.split_once('=').unwrap();
                let (topic, queue_id) = queue_of(queue);
                QueueMinimum { topic: topic.into(), queue_id, min: min.parse().unwrap() }
            };
            let queues = queues.iter().map(parse).collect();
            Command::RaiseMinimum { log_position: position.parse().unwrap(), queues }
        }
        _ => return None,
    })
}

fn offset_of(group: &str, queue: &str, offset: &str) -> OffsetCommit {
    let (topic, queue_id) = queue_of(queue);
    OffsetCommit { group: group.into(), topic: topic.into(), queue_id, offset: offset.parse().unwrap() }
}

fn other(world: &mut World, words: &[&str]) -> String {
    match *words {
        ["target", group, queue] => {
            let (topic, queue_id) = queue_of(queue);
            let target = world.tables.reset_offset(group, topic, queue_id);
            target.map_or("none".into(), |offset| offset.to_string())
        }
        ["reads", group, topic] => (!world.tables.is_read_forbidden(group, topic)).to_string(),
        ["send", ref queues @ ..] => {
            let parse = |text: &&str| {
                let (queue, tag) = text.split_once('#').unwrap_or((text, ""));
                let (topic, queue_id) = queue_of(queue);
                let properties = if tag.is_empty() { String::new() } else { format!("TAGS\u{1}{tag}\u{2}") };
                message(topic, queue_id, "body", &properties)
            };
            describe(&world.commit(&[], &queues.iter().map(parse).collect::<Vec<_>>()))
        }
        ["queue", queue] => {
            let (topic, queue_id) = queue_of(queue);
            match world.tables.queue(topic, queue_id) {
                Some(range) => format!("{}..{}", range.min, range.max),
                None => "none".into(),
            }
        }
        ["offset", group, queue] => {
            let (topic, queue_id) = queue_of(queue);
            match query_consumer_offset(&world.tables, group, topic, queue_id, true) {
                OffsetAnswer::Offset(offset) => offset.to_string(),
                OffsetAnswer::NotFound => "not found".into(),
            }
        }
        ["members", group] => match world.tables.members(group) {
            Some(members) => {
                let ids: Vec<&str> = members.client_ids().map(|id| &**id).collect();
                let wanted: Vec<String> = members
                    .subscriptions()
                    .iter()
                    .map(|one| format!("{}={}@{}", one.topic, one.expression, one.version))
                    .collect();
                format!("{} want {}", ids.join(","), wanted.join(","))
            }
            None => "none".into(),
        },
        ["version"] => {
            let (topics, groups) = (world.tables.topic_version(), world.tables.group_version());
            format!(
                "topics {}@{} groups {}@{}",
                topics.counter, topics.time_ms, groups.counter, groups.time_ms
            )
        }
        ["checkpoint"] => {
            let bytes = world.tables.encode();
            world.tables = Tables::decode(&bytes).unwrap();
            world.tail = TailTable::new();
            world.tail.reset(&bytes).unwrap();
            assert_eq!(world.tables.encode(), bytes);
            "same".into()
        }
        _ => panic!("unknown line {words:?}"),
    }
}

fn describe(effects: &Effects) -> String {
    let mut parts: Vec<String> = effects
        .answers
        .iter()
        .map(|answer| match answer {
            Answer::Done => "done".into(),
            Answer::Unchanged => "unchanged".into(),
            Answer::Refused(refusal) => format!("refused: {refusal}"),
        })
        .collect();
    for appended in &effects.appended {
        let tag = if appended.tags_code == 0 { String::new() } else { format!("#{}", appended.tags_code) };
        parts.push(format!("{}:{}@{}{tag}", appended.topic, appended.queue_id, appended.queue_offset));
    }
    for (what, names) in [
        ("topics", &effects.topics_changed),
        ("groups", &effects.groups_changed),
        ("members", &effects.members_changed),
    ] {
        // The bootstrap touches some dozen names; how many is enough.
        match names.len() {
            0 => {}
            1..=3 => parts.push(format!("{what} {}", names.join(","))),
            count => parts.push(format!("{what} x{count}")),
        }
    }
    for queue in &effects.minimums {
        parts.push(format!("{}:{} from {}", queue.topic, queue.queue_id, queue.min));
    }
    parts.extend(effects.minimum_position.map(|position| format!("log from {position}")));
    parts.join(" ")
}

fn check(transcript: &str) {
    let expected: Vec<&str> = transcript.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let script: Vec<&str> = expected.iter().map(|line| line.split(" -> ").next().unwrap()).collect();
    let found = run(&script.join("\n"));
    assert_eq!(found.trim_end(), expected.join("\n"), "\nfound:\n{found}");
}

#[test]
fn messages_are_numbered_per_queue() {
    check(
        "
        boot C B -> done topics x14 groups x8
        topic T 2 -> done topics T
        queue T:0 -> 0..0
        queue T:2 -> none
        send T:0 T:1#TagA T:0 -> T:0@0 T:1@0#2598919 T:0@1
        send T:0 -> T:0@2
        queue T:0 -> 0..3
        queue T:1 -> 0..1
        checkpoint -> same
        send T:0 -> T:0@3
        ",
    );
}

#[test]
fn a_deleted_topic_keeps_its_numbers() {
    check(
        "
        topic T 1 -> done topics T
        send T:0 T:0 -> T:0@0 T:0@1
        commit g T:0 1 -> done
        offset g T:0 -> 1
        drop T -> done topics T T:0 from 2
        queue T:0 -> none
        drop T -> refused: topic T does not exist
        checkpoint -> same
        topic T 1 -> done topics T
        queue T:0 -> 2..2
        offset g T:0 -> 2
        send T:0 -> T:0@2
        queue T:0 -> 2..3
        ",
    );
}

#[test]
fn a_message_that_meets_a_deleted_topic_keeps_its_number_and_is_hidden() {
    check(
        "
        topic T 1 -> done topics T
        send T:0 -> T:0@0
        drop T -> done topics T T:0 from 1
        send T:0 -> T:0@1 T:0 from 2
        queue T:0 -> none
        topic T 1 -> done topics T
        queue T:0 -> 2..2
        ",
    );
}

#[test]
fn shrinking_a_topic_hides_no_messages() {
    check(
        "
        topic T 4 -> done topics T
        send T:3 -> T:3@0
        topic T 1 -> done topics T
        queue T:3 -> 0..1
        queue T:2 -> 0..0
        queue T:4 -> none
        ",
    );
}

#[test]
fn automatic_creation_does_not_undo_a_change_that_came_first() {
    check(
        "
        create T 4 -> done topics T
        topic T 8 -> done topics T
        create T 4 -> unchanged
        topic T 8 -> unchanged
        queue T:7 -> 0..0
        version -> topics 2@2 groups 0@0
        ",
    );
}

#[test]
fn a_topic_with_too_many_queues_is_refused() {
    check(
        "
        topic T 65536 -> done topics T
        topic T 65537 -> refused: 65537 queues are more than 65536
        queue T:65535 -> 0..0
        ",
    );
}

#[test]
fn versions_count_changes_and_carry_the_time_of_the_log() {
    check(
        "
        topic T 1 -> done topics T
        version -> topics 1@1 groups 0@0
        send T:0 -> T:0@0
        group g -> done groups g
        group g -> unchanged
        version -> topics 1@1 groups 1@3
        ungroup g -> done groups g
        ungroup g -> refused: group g does not exist
        version -> topics 1@1 groups 2@5
        checkpoint -> same
        version -> topics 1@1 groups 2@5
        ",
    );
}

#[test]
fn retention_raises_minimums_and_never_lowers_them() {
    check(
        "
        topic T 2 -> done topics T
        send T:0 T:0 T:0 -> T:0@0 T:0@1 T:0@2
        raise 900 T:0=2 T:1=5 U:0=4 -> done T:0 from 2 log from 900
        queue T:0 -> 2..3
        queue T:1 -> 0..0
        raise 800 T:0=1 -> unchanged
        queue T:0 -> 2..3
        raise 950 T:0=99 -> done T:0 from 3 log from 950
        queue T:0 -> 3..3
        checkpoint -> same
        send T:0 -> T:0@3
        queue T:0 -> 3..4
        ",
    );
}

#[test]
fn offsets_may_go_back_and_go_with_their_group() {
    check(
        "
        topic T 1 -> done topics T
        group g -> done groups g
        commit g T:0 9 -> done
        commit g T:0 4 -> done
        offset g T:0 -> 4
        checkpoint -> same
        offset g T:0 -> 4
        ungroup g -> done groups g
        offset g T:0 -> 0
        ",
    );
}

#[test]
fn a_reset_holds_against_commits_until_a_reader_follows() {
    check(
        "
        topic T 2 -> done topics T
        commit g T:0 9 -> done
        reset g T:0 3 -> done
        offset g T:0 -> 3
        target g T:0 -> 3
        commit g T:0 10 -> done
        offset g T:0 -> 3
        checkpoint -> same
        commit g T:0 11 -> done
        target g T:0 -> 3
        follow g T:0 9 -> unchanged
        target g T:0 -> 3
        reset g T:0 5 -> done
        follow g T:0 3 -> unchanged
        follow g T:0 5 -> done
        target g T:0 -> none
        commit g T:0 6 -> done
        offset g T:0 -> 6
        follow g T:0 5 -> unchanged
        ",
    );
}

#[test]
fn resets_go_with_their_topic_or_group() {
    check(
        "
        topic T 1 -> done topics T
        group g -> done groups g
        reset g T:0 0 -> done
        drop T -> done topics T
        target g T:0 -> none
        reset g T:0 0 -> done
        target g T:0 -> none
        topic T 1 -> done topics T
        reset g T:0 0 -> done
        ungroup g -> done groups g
        target g T:0 -> none
        checkpoint -> same
        ",
    );
}

#[test]
fn a_commit_that_arrives_after_its_topic_was_deleted_leaves_nothing() {
    check(
        "
        topic T 1 -> done topics T
        send T:0 -> T:0@0
        commit g T:0 1 -> done
        drop T -> done topics T T:0 from 1
        commit g T:0 1 -> done
        topic T 1 -> done topics T
        offset g T:0 -> 1
        commit g U:0 1 -> done
        offset g U:0 -> 0
        ",
    );
}

#[test]
fn offsets_are_copied_topic_by_topic() {
    check(
        "
        topic T 2 -> done topics T
        topic U 1 -> done topics U
        commit g T:0 5 -> done
        commit g U:0 6 -> done
        commit h T:1 9 -> done
        reset h T:0 1 -> done
        clone g h T -> done
        offset h T:0 -> 5
        offset h T:1 -> 0
        target h T:0 -> none
        offset h U:0 -> 0
        clone g h T U V -> done
        offset h U:0 -> 6
        clone nobody h T -> unchanged
        clone g g T -> unchanged
        offset g T:0 -> 5
        checkpoint -> same
        ",
    );
}

#[test]
fn what_a_group_may_not_read_outlives_a_checkpoint_and_goes_with_the_group() {
    check(
        "
        group g -> done groups g
        version -> topics 0@0 groups 1@1
        forbid g T -> done
        forbid g T -> unchanged
        reads g T -> false
        reads g U -> true
        reads h T -> true
        version -> topics 0@0 groups 2@2
        checkpoint -> same
        reads g T -> false
        allow g T -> done
        allow g T -> unchanged
        reads g T -> true
        forbid g T -> done
        ungroup g -> done groups g
        reads g T -> true
        ",
    );
}

#[test]
fn members_join_change_and_leave() {
    check(
        "
        join g c2 T=*@1 -> done members g
        join g c1 T=*@1 -> done members g
        join g c1 T=*@1 -> unchanged
        members g -> c1,c2 want T=*@1
        join g c2 T=A@2 U=*@2 -> done members g
        members g -> c1,c2 want T=A@2,U=*@2
        checkpoint -> same
        leave g c2 -> done members g
        members g -> c1 want T=*@1
        leave g c2 -> refused: c2 is no member of group g
        leave g c1 -> done members g
        members g -> none
        leave g c1 -> refused: c1 is no member of group g
        ",
    );
}

#[test]
fn of_two_members_with_one_version_the_first_client_counts() {
    check(
        "
        join g c2 T=B@1 -> done members g
        join g c1 T=A@1 -> done members g
        join g c3 T=C@1 -> done members g
        members g -> c1,c2,c3 want T=A@1
        ",
    );
}

#[test]
fn a_late_heartbeat_brings_no_older_subscription_back() {
    check(
        "
        join g c1 T=B@5 -> done members g
        join g c1 T=A@4 -> unchanged
        join g c1 T=A@5 -> unchanged
        members g -> c1 want T=B@5
        join g c1 T=A@4 U=*@4 -> done members g
        members g -> c1 want T=B@5,U=*@4
        join g c1 U=*@6 -> done members g
        members g -> c1 want U=*@6
        ",
    );
}

#[test]
fn the_identity_of_a_group_is_given_once() {
    check(
        "
        boot C B -> done topics x14 groups x8
        boot C B -> unchanged
        boot C other -> refused: this group is B of cluster C
        checkpoint -> same
        boot C B -> unchanged
        queue BenchmarkTest:1023 -> 0..0
        queue C:15 -> 0..0
        queue TBW102:7 -> 0..0
        queue RMQ_SYS_TRACE_TOPIC:0 -> none
        ",
    );
}

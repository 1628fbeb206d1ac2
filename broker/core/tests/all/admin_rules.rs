//! Rules of administrators' requests: attributes, progress, corrections.

use std::collections::BTreeMap;

use flotilla_core::rules::{
    AttributeError, Attributes, OffsetAnswer, TOPIC_ATTRIBUTES, change_attributes, correction_offsets,
    parse_attribute_changes, progress_topics, query_consumer_offset, queue_progress,
};
use flotilla_core::{Command, OffsetCommit, QueueMinimum};

use crate::support::{World, join, subscription, topic};

fn changed(current: Option<&str>, changes: &str) -> Result<String, AttributeError> {
    let parse = |text: &str| -> Attributes {
        text.split(' ').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    };
    let current = current.map(parse);
    let changes = parse_attribute_changes(changes)?;
    let after = change_attributes(TOPIC_ATTRIBUTES, current.as_ref(), &changes)?;
    Ok(after.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "))
}

#[test]
fn attribute_changes_of_a_topic() {
    let create = None;
    let typed = Some("message.type=FIFO");
    for (current, changes, expected) in [
        (create, "", Ok("")),
        (create, "+message.type=FIFO", Ok("message.type=FIFO")),
        (create, "+message.type=FIFO,+queue.type=SimpleCQ", Ok("message.type=FIFO queue.type=SimpleCQ")),
        (typed, "", Ok("message.type=FIFO")),
        (typed, "+message.type=NORMAL", Ok("message.type=NORMAL")),
        (typed, "-message.type", Ok("")),
        (create, "message.type=FIFO", Err("add/alter attribute format is wrong: message.type")),
        (create, "message.type", Err("delete attribute format is wrong: message.type")),
        (
            create,
            "-message.type",
            Err("only add attribute is supported while creating topic. key: message.type"),
        ),
        (Some(""), "-message.type", Err("attempt to delete a nonexistent key: message.type")),
        (create, "+a=1,+a=2", Err("key duplication: +a")),
        (typed, "+message.type=NORMAL,-message.type", Err("key duplication: message.type")),
        (create, "+a=1", Err("unsupported key: a")),
        (create, "++a=1", Err("kv string format wrong.")),
        (create, "+=1", Err("kv string format wrong.")),
        (typed, "+queue.type=SimpleCQ", Err("attempt to update an unchangeable attribute. key: queue.type")),
        (create, "+queue.type=BatchCQ", Err("value is not in set: [\"SimpleCQ\"]")),
        (create, "+cleanup.policy=COMPACTION", Err("value is not in set: [\"DELETE\"]")),
    ] {
        let found = changed(current, changes).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{current:?} {changes}");
    }
}

fn commit(group: &str, topic: &str, queue_id: u32, offset: i64) -> OffsetCommit {
    OffsetCommit { group: group.into(), topic: topic.into(), queue_id, offset }
}

/// Topic T with five messages in queue 0 and none in queue 1.
fn world() -> World {
    let mut world = World::bootstrapped();
    world.commit(&[Command::PutTopic(topic("T", 2))], &[]);
    for _ in 0..5 {
        world.send("T", 0);
    }
    world
}

fn progress(world: &World, queue_id: u32, pulled: Option<i64>) -> (i64, i64, i64) {
    let progress = queue_progress(&world.tables, "g", "T", queue_id, pulled).unwrap();
    (progress.broker, progress.consumer, progress.pulled)
}

#[test]
fn progress_is_never_negative() {
    let mut world = world();
    assert_eq!(progress(&world, 0, None), (5, 0, 0), "a group without offset");
    assert_eq!(progress(&world, 1, Some(7)), (0, 0, 0), "a pull beyond the end");
    world.commit(&[Command::CommitOffsets(vec![commit("g", "T", 0, 3)])], &[]);
    assert_eq!(progress(&world, 0, Some(4)), (5, 3, 4));
    assert_eq!(progress(&world, 0, Some(1)), (5, 3, 3), "a pull before a commit");
    world.commit(&[Command::ResetOffsets(vec![commit("g", "T", 0, 6)])], &[]);
    assert_eq!(progress(&world, 0, Some(4)), (5, 5, 5), "an offset beyond the end");
    world.commit(&[Command::CommitOffsets(vec![commit("g", "T", 1, -1)])], &[]);
    assert_eq!(progress(&world, 1, None), (0, 0, 0));
    assert_eq!(queue_progress(&world.tables, "g", "T", 9, None), None);
}

#[test]
fn a_topic_made_again_begins_where_it_had_ended() {
    let mut world = world();
    world.commit(&[Command::DeleteTopic { topic: "T".into() }, Command::PutTopic(topic("T", 2))], &[]);
    world.send("T", 0);
    assert_eq!(progress(&world, 0, None), (6, 5, 5));
}

#[test]
fn topics_of_a_group_are_those_with_offsets_that_it_still_wants() {
    let mut world = world();
    world.commit(&[Command::PutTopic(topic("U", 1))], &[]);
    let commits = vec![commit("g", "T", 0, 1), commit("g", "U", 0, 0)];
    world.commit(&[Command::CommitOffsets(commits)], &[]);
    let topics = |world: &World, topic: &str, list: &[&str]| progress_topics(&world.tables, "g", topic, list);
    assert_eq!(topics(&world, "", &[]), ["T", "U"]);
    world.commit(&[join("g", "c", &[subscription("U", "*", 1)])], &[]);
    assert_eq!(topics(&world, "", &[]), ["U"], "while members say what they want");
    assert_eq!(topics(&world, "T", &[]), [""; 0]);
    assert_eq!(topics(&world, "U", &[]), ["U"]);
    assert_eq!(topics(&world, "", &["T", "V"]), ["T", "V"], "a list is not filtered");
}

#[test]
fn corrections_are_the_smallest_offsets_above_the_minimum() {
    let mut world = world();
    let commits = vec![
        commit("a", "T", 0, 1),
        commit("b", "T", 0, 3),
        commit("c", "T", 0, 4),
        commit("c", "T", 1, 2),
        commit("c", "U", 0, 0),
    ];
    world.commit(&[Command::CommitOffsets(commits)], &[]);
    let of = |world: &World, filtered: &[&str], compare: &str| {
        correction_offsets(&world.tables, "T", filtered, compare)
    };
    assert_eq!(of(&world, &[], "nobody"), BTreeMap::from([(0, 1), (1, 2)]));
    assert_eq!(of(&world, &["a", "b"], "nobody"), BTreeMap::from([(0, 4), (1, 2)]));
    assert_eq!(of(&world, &["a"], "a"), BTreeMap::from([(0, i64::MAX), (1, 2)]), "a stands lower");
    let queues = vec![QueueMinimum { topic: "T".into(), queue_id: 0, min: 2 }];
    world.commit(&[Command::RaiseMinimum { log_position: 100, queues }], &[]);
    assert_eq!(of(&world, &[], "nobody"), BTreeMap::from([(0, 3), (1, 2)]), "1 is gone");
    assert_eq!(world.tables.consumer_offset("a", "T", 0), Some(1), "nothing is forgotten");
}

#[test]
fn a_reset_hides_commits_that_are_under_way() {
    let mut world = world();
    world.commit(&[Command::ResetOffsets(vec![commit("g", "T", 0, 2)])], &[]);
    let under_way = Command::CommitOffsets(vec![commit("g", "T", 0, 5)]);
    let query = |world: &World| query_consumer_offset(&world.tables, "g", "T", 0, false);
    world.commit(std::slice::from_ref(&under_way), &[]);
    assert_eq!(query(&world), OffsetAnswer::Offset(2));
    world.commit(&[Command::FollowReset(commit("g", "T", 0, 2))], &[]);
    assert_eq!(query(&world), OffsetAnswer::Offset(2));
    world.commit(&[under_way], &[]);
    assert_eq!(query(&world), OffsetAnswer::Offset(5));
}

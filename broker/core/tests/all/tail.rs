//! The tail table: stamping, comparing, and the exact way back.

use flotilla_core::{MessageShape, Payload, TailError, TailTable};

use crate::support::{World, message, message_with_flag, payload, topic};

#[test]
fn stamp_numbers_each_queue_and_places_each_message() {
    let mut tail = TailTable::new();
    let messages = [
        message("A", 0, "1", ""),
        message("A", 1, "2", ""),
        message("B", 0, "3", ""),
        message("A", 0, "4", ""),
        message("A", 0, "5", ""),
    ];
    let mut bytes = payload(&[], &messages);
    tail.stamp(&mut bytes, 1000, 77).unwrap();
    let parts = Payload::parse(&bytes).unwrap();
    let stamped: Vec<_> = flotilla_core::Messages::new(parts.messages)
        .map(Result::unwrap)
        .map(|(_, shape, bytes)| {
            (shape.queue_offset(bytes), shape.physical_offset(bytes), shape.store_timestamp(bytes))
        })
        .collect();
    let size = messages[0].len() as i64;
    assert_eq!(
        stamped,
        [
            (0, 1004, 77),
            (0, 1004 + size, 77),
            (0, 1004 + 2 * size, 77),
            (1, 1004 + 3 * size, 77),
            (2, 1004 + 4 * size, 77)
        ]
    );
    assert_eq!((tail.next("A", 0), tail.next("A", 1), tail.next("B", 0), tail.next("C", 0)), (3, 1, 1, 0));
}

#[test]
fn physical_offset_counts_the_commands_before_the_messages() {
    let mut tail = TailTable::new();
    let command = flotilla_core::Command::PutTopic(topic("A", 1));
    let mut bytes = payload(&[command], &[message("A", 0, "1", "")]);
    tail.stamp(&mut bytes, 500, 1).unwrap();
    let parts = Payload::parse(&bytes).unwrap();
    let shape = MessageShape::parse(parts.messages).unwrap();
    assert!(parts.messages_at > 4);
    assert_eq!(shape.physical_offset(parts.messages), 500 + parts.messages_at as i64);
}

#[test]
fn unnumbered_messages_are_placed_and_take_no_number() {
    let mut tail = TailTable::new();
    let mut bytes = payload(&[], &[message_with_flag("H", 0, "1", "", 4), message("H", 0, "2", "")]);
    tail.stamp(&mut bytes, 100, 9).unwrap();
    assert_eq!(tail.next("H", 0), 1);
    let mut follower = TailTable::new();
    follower.observe(&bytes, 100, 9).unwrap();
    assert_eq!(follower.snapshot(), tail.snapshot());
    follower.retract(&bytes);
    assert_eq!(follower.snapshot(), []);
}

#[test]
fn observe_refuses_what_the_leader_could_not_have_written() {
    let mut leader = TailTable::new();
    let mut first = payload(&[], &[message("A", 0, "1", ""), message("A", 0, "2", "")]);
    leader.stamp(&mut first, 100, 5).unwrap();
    let mut second = payload(&[], &[message("B", 0, "3", ""), message("A", 0, "4", "")]);
    leader.stamp(&mut second, 400, 6).unwrap();

    let mut follower = TailTable::new();
    let hole = follower.observe(&second, 400, 6).unwrap_err();
    assert!(matches!(hole, TailError::QueueOffset { expected: 0, found: 2, queue_id: 0, .. }), "{hole}");
    assert_eq!(follower.snapshot(), [], "a refused entry leaves no trace");
    let moved = follower.observe(&first, 101, 5).unwrap_err();
    assert!(matches!(moved, TailError::PhysicalOffset { position: 105, found: 104 }), "{moved}");
    let late = follower.observe(&first, 100, 6).unwrap_err();
    assert!(matches!(late, TailError::StoreTime { expected: 6, found: 5, .. }), "{late}");
    follower.observe(&first, 100, 5).unwrap();
    let twice = follower.observe(&first, 100, 5).unwrap_err();
    assert!(matches!(twice, TailError::QueueOffset { expected: 2, found: 0, .. }), "{twice}");
    follower.observe(&second, 400, 6).unwrap();
    assert_eq!(follower.snapshot(), leader.snapshot());
}

#[test]
fn a_failed_stamp_leaves_the_numbers_as_they_were() {
    let mut tail = TailTable::new();
    let mut bytes =
        payload(&[], &[message("A", 0, "1", ""), message("B", 0, "2", ""), message("A", 0, "3", "")]);
    let size = message("A", 0, "1", "").len();
    bytes[4 + 2 * size + 4] = 0;
    let error = tail.stamp(&mut bytes, 100, 5).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("message at byte {} of the payload: unknown magic 0x00a320a7", 2 * size)
    );
    assert_eq!(tail.snapshot(), []);
}

#[test]
#[should_panic(expected = "newest number of A queue 0 is retracted")]
fn retracting_what_is_not_the_newest_is_refused() {
    let mut tail = TailTable::new();
    let mut first = payload(&[], &[message("A", 0, "1", "")]);
    let mut second = first.clone();
    tail.stamp(&mut first, 100, 5).unwrap();
    tail.stamp(&mut second, 300, 5).unwrap();
    tail.retract(&first);
}

#[test]
fn positions_beyond_the_signed_range_are_refused() {
    let mut tail = TailTable::new();
    let mut bytes = payload(&[], &[message("A", 0, "1", "")]);
    assert!(matches!(tail.stamp(&mut bytes, u64::MAX, 5), Err(TailError::Range(_))));
    assert!(matches!(tail.stamp(&mut bytes, i64::MAX as u64 - 3, 5), Err(TailError::Range(_))));
    assert!(matches!(tail.stamp(&mut bytes, 100, u64::MAX), Err(TailError::Range(_))));
}

#[test]
fn reset_takes_the_numbers_of_a_checkpoint_deleted_topics_too() {
    let mut world = World::bootstrapped();
    world.commit(&[flotilla_core::Command::PutTopic(topic("A", 2))], &[]);
    world.send("A", 1);
    world.send("A", 1);
    world.commit(&[flotilla_core::Command::DeleteTopic { topic: "A".into() }], &[]);
    let mut tail = TailTable::new();
    tail.reset(&world.tables.encode()).unwrap();
    assert_eq!(tail.snapshot(), world.tail.snapshot());
    assert_eq!(tail.next("A", 1), 2);
    tail.reset(&[]).unwrap();
    assert_eq!(tail.snapshot(), []);
    assert!(tail.reset(b"FLOTILLB").is_err());
}
